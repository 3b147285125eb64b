package graph

import (
	"fmt"
	"math"

	"ringo/runtime/tensor"
)

// Attention is the attribute struct of the attention ops: softmax(Scale·q·kᵀ)·v per head (Vaswani et al.,
// "Attention is all you need", 2017, eq. 1), with grouped queries (Ainslie et al., "GQA", 2023): query head h
// reads key/value head h/(Heads/KVHeads).
type Attention struct {
	Heads   int // query heads H
	KVHeads int // key/value heads KV, a divisor of H; 0 means H
	Dim     int // elements per head D; 0 means what the shapes give
	// Causal: query t of T sees the keys s ≤ t + S − T, so the last query sees all S keys.
	Causal bool
	Packed bool    // one input (B,T,(H+2KV)·D): all query heads, then key heads, then value heads
	Scale  float64 // 0 means 1/√D
}

// AttentionSizes are the sizes an attention works on.
type AttentionSizes struct{ B, T, S, H, KV, D int }

// Sizes resolves the zero fields of a against the shape of q (B,T,H,D), or of the packed input, and of
// k (B,S,KV,D), which Packed does not read.
func (a Attention) Sizes(q, k tensor.Shape) (AttentionSizes, error) {
	var z AttentionSizes
	if a.Packed {
		z.H, z.KV, z.D = a.Heads, a.KVHeads, a.Dim
		if z.KV == 0 {
			z.KV = z.H
		}
		if z.H < 1 || z.KV < 0 || len(q) != 3 {
			return z, fmt.Errorf("packed input %v with %d heads and %d key/value heads: expected (B,T,(H+2·KV)·D)", q, z.H, z.KV)
		}
		if z.D == 0 {
			z.D = q[2] / (z.H + 2*z.KV)
		}
		if z.D < 1 || q[2] != (z.H+2*z.KV)*z.D {
			return z, fmt.Errorf("packed input %v: last dimension %d, expected (%d + 2·%d) heads × %d", q, q[2], z.H, z.KV, z.D)
		}
		z.B, z.T, z.S = q[0], q[1], q[1]
	} else {
		if len(q) != 4 || len(k) != 4 {
			return z, fmt.Errorf("q %v and k %v: expected (B,T,H,D) and (B,S,KV,D)", q, k)
		}
		z = AttentionSizes{B: q[0], T: q[1], S: k[1], H: q[2], KV: k[2], D: q[3]}
		if k[0] != z.B || k[3] != z.D || z.D < 1 {
			return z, fmt.Errorf("q %v and k %v: batch or head size differ", q, k)
		}
		if (a.Heads != 0 && a.Heads != z.H) || (a.KVHeads != 0 && a.KVHeads != z.KV) || (a.Dim != 0 && a.Dim != z.D) {
			return z, fmt.Errorf("q %v and k %v: attributes say %d heads, %d key/value heads, size %d", q, k, a.Heads, a.KVHeads, a.Dim)
		}
	}
	if z.KV < 1 || z.H%z.KV != 0 {
		return z, fmt.Errorf("%d query heads do not divide into %d key/value heads", z.H, z.KV)
	}
	if z.S < 1 || z.T < 1 {
		return z, fmt.Errorf("%d queries and %d keys: expected at least one of each", z.T, z.S)
	}
	if a.Causal && z.S < z.T {
		return z, fmt.Errorf("causal with %d queries and %d keys: the first queries would see no key", z.T, z.S)
	}
	return z, nil
}

// SoftmaxScale returns Scale, or 1/√D where it is 0.
func (a Attention) SoftmaxScale(dim int) float64 {
	if a.Scale != 0 {
		return a.Scale
	}
	return 1 / math.Sqrt(float64(dim))
}

// wide is the element type of statistics: half types keep them in f32, as P = exp(s − lse) needs the digits.
func wide(d tensor.DType) tensor.DType {
	if d == tensor.F16 || d == tensor.BF16 {
		return tensor.F32
	}
	return d
}

// sizes checks the inputs {q,k,v} or {qkv} and returns the sizes.
func (a Attention) sizes(in []*Value) (AttentionSizes, error) {
	want := 3
	if a.Packed {
		want = 1
	}
	if len(in) != want {
		return AttentionSizes{}, fmt.Errorf("%d tensors of queries, keys and values, expected %d", len(in), want)
	}
	for i, v := range in {
		if v.DType != in[0].DType || !v.DType.IsFloat() {
			return AttentionSizes{}, fmt.Errorf("input %d is %v, input 0 is %v: expected one float type", i, v.Type, in[0].Type)
		}
	}
	if a.Packed {
		return a.Sizes(in[0].Shape, nil)
	}
	if !in[1].Shape.Equal(in[2].Shape) {
		return AttentionSizes{}, fmt.Errorf("k %v and v %v differ", in[1].Shape, in[2].Shape)
	}
	return a.Sizes(in[0].Shape, in[1].Shape)
}

func (a Attention) outputs(in []*Value) ([]Type, error) {
	z, err := a.sizes(in)
	if err != nil {
		return nil, err
	}
	y := Type{in[0].DType, in[0].Shape}
	if a.Packed {
		y.Shape = tensor.Shape{z.B, z.T, z.H * z.D}
	}
	return []Type{y, {wide(y.DType), tensor.Shape{z.B, z.H, z.T}}}, nil
}

func attentionGradInfer(n *Node) ([]Type, error) {
	a, qkv := attrs[Attention](n), 3
	if a.Packed {
		qkv = 1
	}
	if len(n.In) < qkv+3 || len(n.In) > qkv+4 {
		return nil, fmt.Errorf("%d inputs, expected dy, %d of q/k/v, y, lse and perhaps dlse", len(n.In), qkv)
	}
	in := n.In[1 : 1+qkv]
	out, err := a.outputs(in)
	if err != nil {
		return nil, err
	}
	names := []string{"dy", "y", "lse", "dlse"}
	for i, v := range append([]*Value{n.In[0]}, n.In[1+qkv:]...) {
		if want := out[i/2]; !v.Type.Equal(want) { // dy and y are as output 0, lse and dlse as output 1
			return nil, fmt.Errorf("%s is %v, expected %v", names[i], v.Type, want)
		}
	}
	var types []Type
	for _, v := range in {
		types = append(types, v.Type)
	}
	return types, nil
}

// attentionVJP: with P = softmax(S), S = scale·q·kᵀ and δ = rowsum(dy∘y) − dlse (Dao et al.,
// "FlashAttention", 2022, appendix B.2):
//
//	dv = Pᵀ·dy, dS = P ∘ (dy·vᵀ − δ), dq = scale·dS·k, dk = scale·dSᵀ·q
func attentionVJP(g *Graph, n *Node, dy []*Value) []*Value {
	d := dy[0]
	if d == nil {
		d = g.Fill(0, n.Out[0].DType, n.Out[0].Shape...)
	}
	in := append(append([]*Value{d}, n.In...), n.Out...)
	if dy[1] != nil {
		in = append(in, dy[1])
	}
	return g.ApplyN("attention_grad", n.Attrs, in...)
}

// attentionPairs counts the (query, key) pairs that are not masked, over batch and heads, times 2·D: the
// FLOPs of one of the products.
func attentionPairs(a Attention, z AttentionSizes) int64 {
	pairs := int64(z.T) * int64(z.S)
	if a.Causal {
		pairs -= int64(z.T) * int64(z.T-1) / 2
	}
	return 2 * int64(z.B) * int64(z.H) * int64(z.D) * pairs
}

func init() {
	register(
		// attention: q, k, v or packed qkv → y, lse (B,H,T), the log of the softmax's denominator.
		Op{Name: "attention", MinIn: 1, MaxIn: 3,
			Infer: func(n *Node) ([]Type, error) { return attrs[Attention](n).outputs(n.In) },
			VJP:   attentionVJP, DiffOuts: 2,
			FLOPs: func(n *Node) int64 {
				a := attrs[Attention](n)
				z, _ := a.sizes(n.In)
				return 2 * attentionPairs(a, z)
			},
			Samples: attentionSamples(false)},
		// attention_grad: dy, q, k, v or packed qkv, y, lse [, dlse] → dq, dk, dv or packed dqkv. Five products:
		// scores again, dP, dv, dk, dq.
		Op{Name: "attention_grad", MinIn: 4, MaxIn: 7, Infer: attentionGradInfer,
			FLOPs: func(n *Node) int64 {
				a := attrs[Attention](n)
				z, _ := a.sizes(n.In[1 : 1+len(n.Out)])
				return 5 * attentionPairs(a, z)
			},
			Samples: attentionSamples(true)},
	)
}

// Attention attends q (B,T,H,D) over k and v (B,S,KV,D) and returns y (B,T,H,D). Sizes in a may be left 0.
func (g *Graph) Attention(q, k, v *Value, a Attention) *Value {
	a.Packed = false
	return g.Apply("attention", a, q, k, v)
}

// AttentionPacked attends within qkv (B,T,(H+2KV)·D), the output of one fused projection, and returns
// y (B,T,H·D). a.Heads is needed; KVHeads and Dim may be left 0.
func (g *Graph) AttentionPacked(qkv *Value, a Attention) *Value {
	a.Packed = true
	return g.Apply("attention", a, qkv)
}
