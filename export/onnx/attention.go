package onnx

import (
	"fmt"
	"math"

	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

// Shapes: B batch, T queries, S keys, H query heads, KV key/value heads, G = H/KV, D elements per head.

// attention is softmax(scale·q·kᵀ, masked)·v per head. Query heads that share a key/value head lie along an axis of
// their own, over which the product broadcasts: nothing is repeated.
func attention(n *node) []string {
	a := attributes[graph.Attention](n.Node)
	var k tensor.Shape
	if !a.Packed {
		k = n.In[1].Shape
	}
	z, err := a.Sizes(n.In[0].Shape, k)
	if err != nil {
		n.fail("%w", err)
	}
	q, kk, v, lead := n.heads(a, z)
	q = n.op("Mul", []string{q, n.scalar(a.SoftmaxScale(z.D), tensor.F32)})
	scores := n.op("MatMul", []string{q, kk}) // (B,KV,G,T,S)
	if a.Causal {
		t, s := lead[1], lead[1]
		if !a.Packed {
			s = n.dims(n.In[1])[1]
		}
		scores = n.op("Where", []string{n.causal(t, s), scores, n.scalar(math.Inf(-1), tensor.F32)})
	}
	y := n.op("MatMul", []string{n.op("Softmax", []string{scores}, attrInt("axis", -1)), v}) // (B,KV,G,T,D)
	five := []Dim{lead[0], lead[1], {N: z.KV}, {N: z.H / z.KV}, {N: z.D}}
	return one(n.reshapeTo(n.perm(y, 0, 3, 1, 2, 4), five, n.dims(n.Out[0])))
}

// heads returns q (B,KV,G,T,D), k (B,KV,1,D,S), v (B,KV,1,S,D), and the dims B, T.
func (n *node) heads(a graph.Attention, z graph.AttentionSizes) (q, k, v string, lead []Dim) {
	from := n.dims(n.In[0])
	lead = from[:2]
	var parts []string
	if a.Packed {
		parts = n.emitN(n.Name, "Split", 3, []string{n.in(0), n.constInts([]int{z.H * z.D, z.KV * z.D, z.KV * z.D})}, attrInt("axis", 2))
	} else {
		parts = []string{n.in(0), n.in(1), n.in(2)}
	}
	split := func(i, heads, group int) string {
		in := from
		if !a.Packed {
			in = n.dims(n.In[i])
		}
		return n.reshapeTo(parts[i], in, []Dim{in[0], in[1], {N: heads}, {N: group}, {N: z.D}})
	}
	q = n.perm(split(0, z.KV, z.H/z.KV), 0, 2, 3, 1, 4)
	k = n.perm(split(1, z.KV, 1), 0, 2, 3, 4, 1)
	v = n.perm(split(2, z.KV, 1), 0, 2, 3, 1, 4)
	return q, k, v, lead
}

// causal is the mask (T,S) that is true where query t may see key s ≤ t + S − T. All layers share it.
func (n *node) causal(t, s Dim) string {
	key := fmt.Sprint("causal ", t, s)
	if name := n.shared[key]; name != "" {
		return name
	}
	last := func(d Dim) string { // a scalar
		return n.emit("mask", "Squeeze", []string{n.size64(d)})[0]
	}
	zero, step := n.scalar(0, tensor.I64), n.scalar(1, tensor.I64)
	keys := n.emit("mask", "Range", []string{zero, last(s), step})[0]
	queries := n.emit("mask", "Range", []string{zero, last(t), step})[0]
	if t != s {
		queries = n.emit("mask", "Add", []string{queries, n.emit("mask", "Sub", []string{n.size64(s), n.size64(t)})[0]})[0]
	}
	queries = n.emit("mask", "Unsqueeze", []string{queries, n.constInts([]int{1})})[0] // (T,1)
	name := n.emit("mask", "LessOrEqual", []string{keys, queries})[0]
	n.shared[key] = name
	return name
}

// size64 is a 1-D i64 tensor of one number.
func (e *emitter) size64(d Dim) string { return e.ints([]Dim{d}) }

// rope turns pairs (x₁, x₂) of each head by the angle θ = t·base^(−2i/D):
//
//	y₁ = x₁·cos θ − x₂·sin θ,  y₂ = x₁·sin θ + x₂·cos θ.
//
// Cosines and sines are tables of the file, computed in float64.
func rope(n *node) []string {
	a := attributes[graph.Rope](n.Node)
	if len(n.In) > 1 {
		n.fail("rotary embedding at given positions has no ONNX form here: export the forward graph, not one step of decoding")
	}
	_, t, turn, heads, dim, err := a.Sizes(n.In[0].Shape)
	if err != nil {
		n.fail("%w", err)
	}
	from := n.dims(n.In[0])
	x, four := n.in(0), []Dim{from[0], from[1], {N: heads}, {N: dim}}
	if a.Packed {
		x = n.reshapeTo(x, from, four)
	}
	rest := ""
	if turn < heads {
		parts := n.emitN(n.Name, "Split", 2, []string{x, n.constInts([]int{turn, heads - turn})}, attrInt("axis", 2))
		x, rest = parts[0], parts[1]
	}
	y := n.turn(x, a, []Dim{from[0], from[1], {N: turn}, {N: dim}}, n.angles(a, from[1], t, dim))
	if rest != "" {
		y = n.op("Concat", []string{y, rest}, attrInt("axis", 2))
	}
	if a.Packed {
		y = n.reshapeTo(y, four, from)
	}
	return one(y)
}

// turn applies the angles to x (B,T,h,D). Interleaved pairs get an axis of their own first.
func (n *node) turn(x string, a graph.Rope, dims []Dim, angles [2]string) string {
	axis, half := 3, dims[3].N/2
	paired := []Dim{dims[0], dims[1], dims[2], {N: half}, {N: 2}}
	if a.Interleaved {
		x, axis = n.reshapeTo(x, dims, paired), 4
	}
	parts := n.emitN(n.Name, "Split", 2, []string{x}, attrInt("axis", axis), attrInt("num_outputs", 2))
	cos, sin := angles[0], angles[1]
	if a.Interleaved { // the tables are (T,1,D/2)
		last := []Dim{dims[1], {N: 1}, {N: half}, {N: 1}}
		from := last[:3]
		cos, sin = n.reshapeTo(cos, from, last), n.reshapeTo(sin, from, last)
	}
	mul := func(x, y string) string { return n.op("Mul", []string{x, y}) }
	y1 := n.op("Sub", []string{mul(parts[0], cos), mul(parts[1], sin)})
	y2 := n.op("Add", []string{mul(parts[0], sin), mul(parts[1], cos)})
	y := n.op("Concat", []string{y1, y2}, attrInt("axis", axis))
	if a.Interleaved {
		y = n.reshapeTo(y, paired, dims)
	}
	return y
}

// angles returns cosines and sines (T,1,D/2), cut from tables of the longest sequence where T is open.
func (n *node) angles(a graph.Rope, time Dim, t, dim int) [2]string {
	key := fmt.Sprint("rope ", a.Period(), a.Inverse, time, dim)
	rows := t
	if !time.constant() {
		rows = n.maxSeq
	}
	var out [2]string
	for i, f := range []func(float64) float64{math.Cos, math.Sin} {
		k := fmt.Sprint(key, i)
		if n.shared[k] == "" {
			n.shared[k] = n.angleTable(a, f, rows, dim, time)
		}
		out[i] = n.shared[k]
	}
	return out
}

func (n *node) angleTable(a graph.Rope, f func(float64) float64, rows, dim int, time Dim) string {
	list := make([]float64, 0, rows*dim/2)
	for p := range rows {
		for i := range dim / 2 {
			angle := float64(p) * math.Pow(a.Period(), -2*float64(i)/float64(dim))
			if a.Inverse {
				angle = -angle
			}
			list = append(list, f(angle))
		}
	}
	name := n.floats(tensor.Shape{rows, 1, dim / 2}, list)
	if time.constant() {
		return name
	}
	return n.emit("rope", "Slice", []string{name, n.constInts([]int{0}), n.ints([]Dim{time}), n.constInts([]int{0})})[0]
}
