package models

import (
	"fmt"

	"ringo/runtime/graph"
)

// resnet: residual networks (He et al. 2015, arXiv 1512.03385) of basic blocks, in two families chosen by layers.
//   - CIFAR family, section 4.2: layers = 6n+2 (20, 32, 44, 56, 110); three stages of n blocks with width, 2·width
//     and 4·width channels (default 16); where the shape changes the shortcut takes every second pixel and appends
//     zero channels (option A). ResNet-20: 269,722 parameters, 41 M multiply-adds for 32×32.
//   - ImageNet family, table 1: layers 18 or 34; four stages of width … 8·width (default 64); the shortcut is a 1×1
//     convolution (option B). Images above 64 pixels start with the 7×7 stride-2 convolution and 3×3 stride-2
//     max-pooling, smaller ones with a 3×3 convolution. ResNet-18 with 1000 classes: 11,689,512 parameters.
//   - batch norm after every convolution; global average pooling; start: He normal with fan-out.
//
// Names are torchvision's: conv1.weight, bn1.weight, layer1.0.conv1.weight, layer2.0.downsample.0.weight, fc.weight.
var resnet = architecture{
	keys: "layers width classes input norm_eps",
	defaults: func(c *Config) {
		orDefault(&c.Layers, 20)
		orDefault(&c.NormEps, 1e-5)
		if imagenetBlocks[c.Layers] != nil {
			orDefault(&c.Width, 64)
		}
		orDefault(&c.Width, 16)
	},
	check:  checkResnet,
	logits: resnetLogits,
}

// imagenetBlocks gives the blocks per stage of the ImageNet family, by weighted layers.
var imagenetBlocks = map[int][]int{18: {2, 2, 2, 2}, 34: {3, 4, 6, 3}}

func checkResnet(c *Config) error {
	if imagenetBlocks[c.Layers] == nil && (c.Layers < 8 || (c.Layers-2)%6 != 0) {
		return bad("layers", c.Layers, "18 or 34, or 6n+2 such as 20, 32, 44, 56, 110")
	}
	if len(c.Input) > 0 && len(c.Input) != 3 {
		return bad("input", c.Input, "an image (C,H,W)")
	}
	return atLeast(1, key{"width", c.Width})
}

// blocks returns the number of blocks in each stage, and whether shortcuts are projections (option B).
func (c *Config) blocks() (stages []int, project bool) {
	if s := imagenetBlocks[c.Layers]; s != nil {
		return s, true
	}
	k := (c.Layers - 2) / 6
	return []int{k, k, k}, false
}

func resnetLogits(n *net, in samples) *graph.Value {
	c, x := n.cfg, in.x // (B,C,H,W)
	stages, project := c.blocks()
	if project && max(c.Input[1], c.Input[2]) > 64 {
		x = n.Relu(n.batchNorm("bn1", n.conv("conv1", x, c.Width, 7, 2, 3, false, heNormal)))
		x = n.MaxPool2D(x, graph.Pool2D{Kernel: [2]int{3, 3}, Stride: [2]int{2, 2}, Dilation: [2]int{1, 1}, Pad: [4]int{1, 1, 1, 1}})
	} else {
		x = n.Relu(n.batchNorm("bn1", n.conv("conv1", x, c.Width, 3, 1, 1, false, heNormal)))
	}
	for s, count := range stages {
		for b := range count {
			stride := 1
			if s > 0 && b == 0 {
				stride = 2
			}
			n.block(fmt.Sprintf("layer%d.%d", s+1, b), func() { x = n.basicBlock(x, c.Width<<s, stride, project) })
		}
	}
	return n.linear("fc", n.GlobalAvgPool(x), c.Classes, false)
}

// basicBlock is relu(shortcut(x) + bn(conv(relu(bn(conv(x)))))), (B,I,H,W) → (B,O,H/stride,W/stride).
func (n *net) basicBlock(x *graph.Value, out, stride int, project bool) *graph.Value {
	y := n.Relu(n.batchNorm("bn1", n.conv("conv1", x, out, 3, stride, 1, false, heNormal)))
	y = n.batchNorm("bn2", n.conv("conv2", y, out, 3, 1, 1, false, heNormal))
	shortcut := n.asRounded(x)
	if stride != 1 || x.Shape[1] != out {
		if project {
			shortcut = n.batchNorm("downsample.1", n.conv("downsample.0", x, out, 1, stride, 0, false, heNormal))
		} else {
			shortcut = n.padShortcut(shortcut, out, stride)
		}
	}
	return n.Relu(n.Add(shortcut, y))
}

// padShortcut takes every stride-th pixel and appends zero channels, (B,I,H,W) → (B,O,⌈H/stride⌉,⌈W/stride⌉).
func (n *net) padShortcut(x *graph.Value, out, stride int) *graph.Value {
	in := x.Shape[1]
	x = n.Apply("slice", graph.Slice{Start: []int{0, 0, 0, 0}, End: x.Shape.Clone(), Step: []int{1, 1, stride, stride}}, x)
	return n.Pad(x, []int{0, 0, 0, 0}, []int{0, out - in, 0, 0}, 0)
}
