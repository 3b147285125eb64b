package models

import (
	"fmt"
	"strconv"

	"ringo/runtime/graph"
)

// convnet: the small MNIST network of Keras' and PyTorch's examples, after LeNet-5 (LeCun et al. 1998).
//   - 3×3 convolutions without padding, ReLU after each; 2×2 max-pooling; a dense ReLU layer; the classifier;
//   - dropout, where set, after the pooling and after the dense layer;
//   - starts as torch.nn.Conv2d and torch.nn.Linear;
//   - 28×28, channels 32 and 64, hidden 128: 1,199,882 parameters; forward 12.0 M multiply-adds a sample
//     (first 0.19 M, second 10.6 M, dense 1.18 M).
//
// Names are those of Sequential(Conv2d, ReLU, …, MaxPool2d, Flatten, Linear, ReLU, Linear): 0.weight, 2.weight, 6.weight, 8.weight.
var convnet = architecture{
	keys: "channels hidden dropout classes input",
	defaults: func(c *Config) {
		if len(c.Channels) == 0 {
			c.Channels = []int{32, 64}
		}
		orDefault(&c.Hidden, 128)
	},
	check:  checkConvnet,
	logits: convnetLogits,
}

func checkConvnet(c *Config) error {
	for _, o := range c.Channels {
		if err := atLeast(1, key{"channels", o}); err != nil {
			return err
		}
	}
	if lost := 2*len(c.Channels) + 2; len(c.Input) > 0 && (len(c.Input) != 3 || min(c.Input[1], c.Input[2]) < lost) {
		return bad("input", c.Input, fmt.Sprintf("an image (C,H,W) of at least %d×%d pixels for %d convolutions and the pooling", lost, lost, len(c.Channels)))
	}
	return atLeast(1, key{"hidden", c.Hidden})
}

func convnetLogits(n *net, in samples) *graph.Value {
	x, i := in.x, 0 // (B,C,H,W)
	for _, o := range n.cfg.Channels {
		x = n.Relu(n.conv(strconv.Itoa(i), x, o, 3, 1, 0, true, torchUniform)) // (B,O,H−2,W−2)
		i += 2
	}
	x = n.MaxPool2D(x, graph.Pool2D{Kernel: [2]int{2, 2}, Stride: [2]int{2, 2}, Dilation: [2]int{1, 1}})
	batch := x.Shape[0]
	x = n.dropout(n.Reshape(x, batch, x.Shape.Size()/batch)) // (B, C·H·W)
	x = n.dropout(n.Relu(n.linear(strconv.Itoa(i+2), x, n.cfg.Hidden, true)))
	return n.linear(strconv.Itoa(i+4), x, n.cfg.Classes, false)
}
