package models

import (
	"fmt"
	"strconv"

	"ringo/runtime/graph"
)

// mlp: a multilayer perceptron (Rumelhart, Hinton, Williams 1986).
//   - linear layers of the given sizes with ReLU and dropout between; an image is flattened first;
//   - category columns, where the data set embeds them, enter as one learned vector each beside the numeric
//     features (entity embeddings, Guo and Berkhahn 2016, arXiv 1604.06737), all of the width embed;
//   - starts as torch.nn.Linear and torch.nn.Embedding;
//   - parameters: Σ (inᵢ+1)·outᵢ + Σ categories·embed. 784-512-512-10: 669,706.
//
// Names are those of a Sequential of Linear and ReLU: 0.weight, 0.bias, 2.weight, …; embeddings.0.weight, ….
var mlp = architecture{
	keys: "sizes dropout classes input categories embed",
	defaults: func(c *Config) {
		if len(c.Categories) > 0 {
			orDefault(&c.Embed, 8)
		}
	},
	check: func(c *Config) error {
		if err := atLeast(0, key{"embed", c.Embed}); err != nil {
			return err
		}
		for _, s := range c.Sizes {
			if err := atLeast(1, key{"sizes", s}); err != nil {
				return err
			}
		}
		return nil
	},
	logits: mlpLogits,
}

func mlpLogits(n *net, in samples) *graph.Value {
	x := in.x
	if x != nil && len(x.Shape) > 2 {
		x = n.Reshape(x, x.Shape[0], n.cfg.Input.Size()) // (B,F)
	}
	if in.categories != nil {
		x = n.embedCategories(x, in.categories)
	}
	for i, size := range n.cfg.Sizes {
		x = n.dropout(n.Relu(n.linear(strconv.Itoa(2*i), x, size, true)))
	}
	return n.linear(strconv.Itoa(2*len(n.cfg.Sizes)), x, n.cfg.Classes, false)
}

// embedCategories appends to x (B,F), which may be nil, one learned vector per column of ids (B,K) → (B, F + K·embed).
func (n *net) embedCategories(x, ids *graph.Value) *graph.Value {
	batch := ids.Shape[0]
	var cols []*graph.Value
	if x != nil {
		cols = append(cols, x)
	}
	for i, values := range n.cfg.Categories {
		id := n.SliceAxis(ids, 1, i, i+1)
		table := n.weight(fmt.Sprintf("embeddings.%d.weight", i), graph.Normal(1), false, values, n.cfg.Embed)
		cols = append(cols, n.Embedding(table, n.Reshape(id, batch)))
	}
	return n.Concat(1, cols...)
}
