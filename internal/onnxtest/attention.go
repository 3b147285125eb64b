package onnxtest

import (
	"math"

	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

// heads is an ONNX Attention with everything in (B,H,T,D): q of H heads, k and v of KV heads and S positions,
// those of the cache included.
type heads struct {
	q, k, v       *graph.Value
	past          int // positions that come from the cache
	scale         float64
	causal        bool
	softcap       float64
	mask, lengths *graph.Value // attn_mask, nonpad_kv_seqlen; may be nil
}

// attention: inputs q, k, v, attn_mask, past_key, past_value, nonpad_kv_seqlen; outputs y, present_key,
// present_value and the scores at the stage that qk_matmul_output_mode names. What ringo's own op covers goes
// through it, the rest through matrix products and softmax.
func attention(n *node) []*graph.Value {
	flat := len(n.in[0].Shape) == 3
	h := heads{
		causal: n.bool("is_causal", false), softcap: n.float("softcap", 0),
		mask: n.input(3), lengths: n.input(6),
	}
	hq, hkv := n.int("q_num_heads", 0), n.int("kv_num_heads", 0)
	h.q, h.k, h.v = n.splitHeads(n.in[0], hq), n.splitHeads(n.in[1], hkv), n.splitHeads(n.in[2], hkv)
	h.scale = n.float("scale", 1/math.Sqrt(float64(h.q.Shape[3])))
	mode := n.int("qk_matmul_output_mode", 0)
	if past := n.input(4); past != nil {
		h.past = past.Shape[2]
		h.k, h.v = n.Concat(2, past, h.k), n.Concat(2, n.in[5], h.v)
	}
	var y, scores *graph.Value
	if h.fits() && !n.wants(3) {
		y = h.fused(n)
	} else {
		y, scores = h.composed(n, mode)
	}
	if flat {
		y = n.Reshape(n.Transpose(y, 0, 2, 1, 3), y.Shape[0], y.Shape[2], -1)
	}
	return []*graph.Value{y, h.k, h.v, scores}
}

// splitHeads makes (B,T,H·D) a (B,H,T,D); rank 4 is that already.
func (n *node) splitHeads(x *graph.Value, count int) *graph.Value {
	if len(x.Shape) == 4 {
		return x
	}
	if count < 1 || x.Shape[2]%count != 0 {
		n.fail("%v does not divide into %d heads", x.Type, count)
	}
	x = n.Reshape(x, x.Shape[0], x.Shape[1], count, x.Shape[2]/count)
	return n.Transpose(x, 0, 2, 1, 3)
}

// fits reports whether ringo's attention op covers h.
func (h *heads) fits() bool {
	t, s := h.q.Shape[2], h.k.Shape[2]
	return h.mask == nil && h.lengths == nil && h.softcap == 0 && h.k.Shape.Equal(h.v.Shape) && (!h.causal || h.past+t <= s)
}

// fused is ringo's op, on (B,T,H,D). ONNX aligns the causal mask at the first query, which sees past+1 keys, ringo
// at the last, which sees all: keys that no query sees are cut off first.
func (h *heads) fused(n *node) *graph.Value {
	k, v := h.k, h.v
	if h.causal {
		end := h.past + h.q.Shape[2]
		k, v = n.SliceAxis(k, 2, 0, end), n.SliceAxis(v, 2, 0, end)
	}
	rows := func(x *graph.Value) *graph.Value { return n.Transpose(x, 0, 2, 1, 3) }
	return rows(n.Attention(rows(h.q), rows(k), rows(v), graph.Attention{Causal: h.causal, Scale: h.scale}))
}

// composed is softmax(softcap(scale·q·kᵀ + mask))·v with softcap(x) = c·tanh(x/c). Modes 0 to 3 name the product, the
// masked product, the capped one and the softmax.
func (h *heads) composed(n *node, mode int) (y, stage *graph.Value) {
	k, v := h.repeat(n, h.k), h.repeat(n, h.v)
	var stages [4]*graph.Value
	stages[0] = n.Scale(n.MatMul(h.q, k, graph.MatMul{TransB: true}), h.scale)
	stages[1] = h.masked(n, stages[0])
	stages[2] = stages[1]
	if h.softcap > 0 {
		stages[2] = n.Scale(n.Tanh(n.Scale(stages[1], 1/h.softcap)), h.softcap)
	}
	stages[3] = n.Softmax(stages[2], -1)
	if mode < 0 || mode > 3 {
		n.fail("qk_matmul_output_mode %d: expected 0 to 3", mode)
	}
	return n.MatMul(stages[3], v, graph.MatMul{}), stages[mode]
}

// repeat gives every query head the key/value head it reads: head h reads h/(H/KV).
func (h *heads) repeat(n *node, x *graph.Value) *graph.Value {
	b, kv, s, d := x.Shape[0], x.Shape[1], x.Shape[2], x.Shape[3]
	times := h.q.Shape[1] / kv
	if times == 1 {
		return x
	}
	x = n.Broadcast(n.Reshape(x, b, kv, 1, s, d), b, kv, times, s, d)
	return n.Reshape(x, b, kv*times, s, d)
}

// masked adds the mask to scores (B,H,T,S), or sets −∞ where a Bool mask is false, where a key lies after the query
// and where it lies in the padding.
func (h *heads) masked(n *node, scores *graph.Value) *graph.Value {
	t, s := scores.Shape[2], scores.Shape[3]
	hide := n.negInf(scores)
	if m := h.mask; m != nil {
		m = n.padMask(m, s)
		if m.DType == tensor.Bool {
			scores = n.Where(m, scores, hide)
		} else {
			scores = n.Add(scores, m)
		}
	}
	if h.causal {
		seen := n.mask(t, s, func(i, j int) bool { return j <= i+h.past })
		scores = n.Where(seen, scores, hide)
	}
	if h.lengths != nil {
		key := n.Reshape(n.iota(s), 1, 1, 1, s)
		real := n.Compare("lt", key, n.Reshape(h.lengths, -1, 1, 1, 1))
		scores = n.Where(real, scores, hide)
	}
	return scores
}

// padMask hides the keys that a mask is too short for.
func (n *node) padMask(m *graph.Value, keys int) *graph.Value {
	last := len(m.Shape) - 1
	missing := keys - m.Shape[last]
	if missing <= 0 {
		return m
	}
	after, value := make([]int, last+1), 0.0
	after[last] = missing
	if m.DType != tensor.Bool {
		value = math.Inf(-1)
	}
	return n.Pad(m, make([]int, last+1), after, value)
}

// rotaryEmbedding turns the first rotary_embedding_dim elements of each head by angles whose cosines and sines
// are given, per position (looked up by position_ids) or per batch and time:
// (x₁, x₂) → (x₁·cos − x₂·sin, x₁·sin + x₂·cos), with x₁, x₂ the halves, or the even and odd elements if interleaved.
func rotaryEmbedding(n *node) []*graph.Value {
	interleaved, dim := n.bool("interleaved", false), n.int("rotary_embedding_dim", 0)
	x := n.splitHeads(n.in[0], n.int("num_heads", 0)) // (B,H,T,D)
	b, h, t, d := x.Shape[0], x.Shape[1], x.Shape[2], x.Shape[3]
	if dim == 0 {
		dim = d
	}
	angle := func(cache *graph.Value) *graph.Value {
		if pos := n.input(3); pos != nil {
			cache = n.Gather(cache, pos, 0)
		}
		return n.Reshape(cache, b, 1, t, dim/2)
	}
	cos, sin := angle(n.in[1]), angle(n.in[2])
	turn, rest := n.SliceAxis(x, 3, 0, dim), n.SliceAxis(x, 3, dim, d)
	// Pairs lie along an axis of their own: the last one, or the one before.
	pair, shape := 3, []int{b, h, t, 2, dim / 2}
	if interleaved {
		pair, shape = 4, []int{b, h, t, dim / 2, 2}
	}
	halves := n.Split(n.Reshape(turn, shape...), 2, pair)
	x1, x2 := n.Reshape(halves[0], b, h, t, dim/2), n.Reshape(halves[1], b, h, t, dim/2)
	y1 := n.Sub(n.Mul(x1, cos), n.Mul(x2, sin))
	y2 := n.Add(n.Mul(x1, sin), n.Mul(x2, cos))
	shape[pair] = 1
	y := n.Concat(pair, n.Reshape(y1, shape...), n.Reshape(y2, shape...))
	y = n.Reshape(y, b, h, t, dim)
	if dim < d {
		y = n.Concat(3, y, rest)
	}
	if len(n.in[0].Shape) == 3 {
		y = n.Reshape(n.Transpose(y, 0, 2, 1, 3), b, t, h*d)
	}
	return one(y)
}
