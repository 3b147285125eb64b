package models

import (
	"fmt"
	"math"

	"ringo/runtime/graph"
)

// gpt: GPT-2 (Radford et al. 2019, "Language Models are Unsupervised Multitask Learners"; nanoGPT and llm.c).
//   - learned positions, layer norm before each sublayer and at the end, biases everywhere;
//   - causal attention with queries, keys and values from one matrix; 4C-wide GELU (tanh form) feed-forward;
//   - output head tied to the token embedding;
//   - start: normal with deviation 0.02·√(768/C), projections into the residual stream 1/√(2·layers) of that, biases 0;
//   - dropout after the embedding and after each sublayer, not on attention weights (they are never in memory);
//   - parameters: V·C + T·C + L·(12C² + 13C) + 2C; FLOPs per token, forward: 2·parameters without T·C + 2·L·T·C
//     (causal attention). GPT-2 124M: V 50,257, T 1024, C 768, L 12: 124,439,808 parameters.
//
// Parameter names and layouts are Hugging Face's GPT2LMHeadModel's; linear weights are (in,out).
var gpt = architecture{
	keys:     "layers heads width context vocab dropout norm_eps",
	inOut:    true,
	language: true,
	defaults: func(c *Config) {
		orDefault(&c.NormEps, 1e-5)
	},
	check:  (*Config).checkHeads,
	logits: gptLogits,
}

// gptStd is the initial standard deviation of a GPT of width c: GPT-2's 0.02 is for c = 768, and a product over c
// inputs keeps its variance when the weights' standard deviation goes with 1/√c. At width 128 this takes the
// character GPT from a validation loss of 1.90 to 1.77 after the same 2000 steps.
func gptStd(c int) float64 { return 0.02 * math.Sqrt(768/float64(c)) }

func gptLogits(n *net, in samples) (logits *graph.Value) {
	n.Scope("transformer", func() {
		c := n.cfg
		wte := n.weight("wte.weight", graph.Normal(gptStd(c.Width)), false, c.Vocab, c.Width)
		x := n.Add(n.Embedding(wte, in.tokens), n.positions(in.tokens.Shape[1])) // (B,T,C)
		x = n.dropout(x)
		for i := range c.Layers {
			n.block(fmt.Sprintf("h.%d", i), func() { x = n.gptBlock(x) })
		}
		logits = n.LinearT(n.layerNorm("ln_f", x), wte, nil) // (B,T,V)
	})
	return logits
}

// positions returns the learned position embeddings of tokens 0…t−1, (T,C); while decoding, that of the
// current position, (C).
func (n *net) positions(t int) *graph.Value {
	c := n.cfg
	wpe := n.weight("wpe.weight", graph.Normal(gptStd(c.Width)), false, c.Context, c.Width)
	switch {
	case n.pos != nil:
		return n.Embedding(wpe, n.pos)
	case t < c.Context:
		return n.SliceAxis(wpe, 0, 0, t)
	}
	return wpe
}

// gptBlock is x + attention(norm(x)), then x + feedforward(norm(x)); x (B,T,C).
func (n *net) gptBlock(x *graph.Value) *graph.Value {
	c := n.cfg
	residual := gptStd(c.Width) / math.Sqrt(2*float64(c.Layers))                       // keeps the sum over 2·layers sublayers at that deviation
	qkv := n.conv1D("attn.c_attn", n.layerNorm("ln_1", x), 3*c.Width, gptStd(c.Width)) // (B,T,3C)
	var y *graph.Value
	n.Scope("attn", func() { y = n.attend(qkv, c.Heads, c.Heads, c.Width/c.Heads) }) // (B,T,C)
	x = n.Add(x, n.dropout(n.conv1D("attn.c_proj", y, c.Width, residual)))
	h := n.Gelu(n.conv1D("mlp.c_fc", n.layerNorm("ln_2", x), 4*c.Width, gptStd(c.Width)), true) // (B,T,4C)
	return n.Add(x, n.dropout(n.conv1D("mlp.c_proj", h, c.Width, residual)))
}

// conv1D is Hugging Face's layer of that name: y = x·W + b with W (in,out). x (…,in) → (…,out).
func (n *net) conv1D(name string, x *graph.Value, out int, std float64) (y *graph.Value) {
	n.Scope(name, func() {
		w := n.weight("weight", graph.Normal(std), true, x.Shape[len(x.Shape)-1], out)
		y = n.Linear(x, w, n.vector("bias", graph.Constant(0), out))
	})
	return y
}
