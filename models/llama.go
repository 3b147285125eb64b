package models

import (
	"fmt"
	"strings"

	"ringo/runtime/graph"
)

// llama: Llama (Touvron et al. 2023, arXiv 2302.13971 and 2307.09288) as Hugging Face's LlamaForCausalLM.
//   - RMS norm before each sublayer and at the end, no biases;
//   - rotary positions (Su et al. 2021): pairs (i, i+D/2), or (2i, 2i+1) with rope_interleaved as in llama2.c;
//   - grouped-query attention: heads/kv_heads queries share a key and value head (Ainslie et al. 2023);
//   - SwiGLU feed-forward (Shazeer 2020): W_down·(silu(W_gate·x) ∘ W_up·x);
//   - head of its own, or tied to the embedding; start: normal 0.02;
//   - parameters: V·C·(1 or 2) + L·(2C² + 2C·K·D + 3C·F + 2C) + C.
//
// Weights are (out,in). Queries, keys and values are one parameter self_attn.qkv_proj, gate and up one
// parameter mlp.gate_up_proj, each a single matrix product; Weights says how they split into Hugging Face's.
var llama = architecture{
	keys:     "layers heads kv_heads width hidden context vocab dropout norm_eps rope_base rope_interleaved tied",
	language: true,
	defaults: func(c *Config) {
		orDefault(&c.KVHeads, c.Heads)
		orDefault(&c.NormEps, 1e-5)
		orDefault(&c.RopeBase, 10_000)
		// 8/3·C keeps the cost of a 4C feed-forward with two matrices; rounded up to a multiple of 32.
		orDefault(&c.Hidden, (8*c.Width/3+31)/32*32)
	},
	check:  checkLlama,
	logits: llamaLogits,
	split:  splitLlama,
}

func checkLlama(c *Config) error {
	if err := c.checkHeads(); err != nil {
		return err
	}
	switch {
	case c.KVHeads < 1 || c.Heads%c.KVHeads != 0:
		return bad("kv_heads", c.KVHeads, fmt.Sprintf("a divisor of heads %d", c.Heads))
	case c.Width/c.Heads%2 != 0:
		return bad("width", c.Width, fmt.Sprintf("an even number of channels per head, which rotary positions need; heads is %d", c.Heads))
	case c.RopeBase <= 1:
		return bad("rope_base", c.RopeBase, "more than 1")
	}
	return atLeast(1, key{"hidden", c.Hidden})
}

const llamaStd = 0.02 // Hugging Face's initializer_range

func llamaLogits(n *net, in samples) *graph.Value {
	c := n.cfg
	var x, embed *graph.Value
	n.Scope("model", func() {
		embed = n.weight("embed_tokens.weight", graph.Normal(llamaStd), false, c.Vocab, c.Width)
		x = n.dropout(n.Embedding(embed, in.tokens)) // (B,T,C)
		for i := range c.Layers {
			n.block(fmt.Sprintf("layers.%d", i), func() { x = n.llamaBlock(x) })
		}
		x = n.rmsNorm("norm", x)
	})
	head := embed
	if !c.Tied {
		head = n.weight("lm_head.weight", graph.Normal(llamaStd), false, c.Vocab, c.Width)
	}
	return n.LinearT(x, head, nil) // (B,T,V)
}

// llamaBlock is x + attention(norm(x)), then x + feedforward(norm(x)); x (B,T,C).
func (n *net) llamaBlock(x *graph.Value) *graph.Value {
	c := n.cfg
	dim := c.Width / c.Heads
	qkv := n.project("self_attn.qkv_proj", n.rmsNorm("input_layernorm", x), (c.Heads+2*c.KVHeads)*dim, llamaStd) // (B,T,(H+2K)·D)
	qkv = n.rope(qkv, dim)
	var y *graph.Value
	n.Scope("self_attn", func() { y = n.attend(qkv, c.Heads, c.KVHeads, dim) }) // (B,T,C)
	x = n.Add(x, n.dropout(n.project("self_attn.o_proj", y, c.Width, llamaStd)))
	h := n.Swiglu(n.project("mlp.gate_up_proj", n.rmsNorm("post_attention_layernorm", x), 2*c.Hidden, llamaStd)) // (B,T,F)
	return n.Add(x, n.dropout(n.project("mlp.down_proj", h, c.Width, llamaStd)))
}

// rope rotates the queries and keys of packed qkv by their positions.
func (n *net) rope(qkv *graph.Value, dim int) *graph.Value {
	c := n.cfg
	a := graph.Rope{Heads: c.Heads, KVHeads: c.KVHeads, Dim: dim, Packed: true, Base: c.RopeBase, Interleaved: c.RopeInterleaved}
	if n.pos != nil {
		return n.Rope(qkv, a, n.pos)
	}
	return n.Rope(qkv, a)
}

// splitLlama says which rows of the packed parameters are which of Hugging Face's tensors.
func splitLlama(c *Config, name string) []Weight {
	dim := c.Width / c.Heads
	if at, ok := strings.CutSuffix(name, "qkv_proj.weight"); ok {
		q, k := c.Heads*dim, c.KVHeads*dim
		return []Weight{
			{Name: at + "q_proj.weight", Param: name, From: 0, To: q},
			{Name: at + "k_proj.weight", Param: name, From: q, To: q + k},
			{Name: at + "v_proj.weight", Param: name, From: q + k, To: q + 2*k},
		}
	}
	if at, ok := strings.CutSuffix(name, "gate_up_proj.weight"); ok {
		return []Weight{
			{Name: at + "gate_proj.weight", Param: name, From: 0, To: c.Hidden},
			{Name: at + "up_proj.weight", Param: name, From: c.Hidden, To: 2 * c.Hidden},
		}
	}
	return nil
}
