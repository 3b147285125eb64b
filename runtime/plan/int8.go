package plan

import (
	"slices"

	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

// fuseInt8 turns graphs in QDQ form, where quantize_linear and dequantize_linear stand around float ops, into integer
// ops that compute the same from the 8-bit numbers themselves:
//
//	dequantize → matmul | conv2d → (relu, gelu, silu) → quantize    becomes qmatmul | qconv2d with an 8-bit result;
//	dequantize → matmul → …                                          becomes qmatmul with a result in f32;
//	dequantize → maxpool2d → quantize, of one scale                  becomes qmaxpool2d;
//	dequantize → reshape | transpose → quantize, of one scale        becomes the same on 8-bit numbers;
//	quantize(dequantize(q)), of one scale, and embedding(dequantize(table)) likewise.
//
// Convolutions and poolings then work on (N,H,W,C), where the taps of a filter lie together; see channelsLast.
func fuseInt8(g *graph.Graph, s *state) error {
	if !slices.ContainsFunc(g.Nodes, func(n *graph.Node) bool { return n.Op.Name == "dequantize_linear" || n.Op.Name == "qconv2d" }) {
		return nil
	}
	for _, rule := range []func(r *rewriter, n *graph.Node){passThrough, integerProduct, channelsLast} {
		r := newRewriter(g, s)
		for _, n := range slices.Clone(g.Nodes) {
			if len(n.Out) > 0 && r.uses[n.Out[0]] > 0 {
				rule(r, n)
			}
		}
		r.finish()
	}
	return cancelTransposes(g, s)
}

// dequantized returns the node that v is the real number of, nil where v is no dequantized tensor with one scale per
// tensor or, where axis is given, one per slice along it.
func dequantized(v *graph.Value, axis int) *graph.Node {
	n := v.Node
	if n.Op.Name != "dequantize_linear" || n.In[1].DType != tensor.F32 {
		return nil
	}
	a, _ := n.Attrs.(graph.Quantize)
	if n.In[1].Shape.Size() == 1 && a.Block == 0 {
		return n
	}
	if at, err := v.Shape.Axis(a.Axis); axis < 0 || err != nil || at != axis || a.Block > 0 {
		return nil
	}
	return n
}

// quantizedOnce returns the one quantize_linear, of one scale, that reads v, behind an activation that act collects.
func quantizedOnce(r *rewriter, v *graph.Value, act *string) *graph.Node {
	for r.only(v) {
		n := onlyReader(r, v)
		if n == nil {
			return nil
		}
		switch n.Op.Name {
		case "quantize_linear":
			if n.In[0] != v || n.In[1].Shape.Size() != 1 || n.In[1].DType != tensor.F32 {
				return nil
			}
			return n
		case "relu", "gelu", "silu":
			if act == nil || *act != "" {
				return nil
			}
			*act = actName(n)
			v = n.Out[0]
		default:
			return nil
		}
	}
	return nil
}

func onlyReader(r *rewriter, v *graph.Value) *graph.Node {
	for _, n := range r.readers(v) {
		if r.uses[n.Out[0]] > 0 {
			return n
		}
	}
	return nil // an output of the graph
}

// sameScale reports whether two quantizers are one: scales and zero points are the same values or equal constants.
func sameScale(a, b *graph.Node) bool {
	return equalConst(a.In[1], b.In[1]) && equalConst(a.In[2], b.In[2]) && a.In[1].Shape.Size() == 1 && b.In[1].Shape.Size() == 1
}

func equalConst(a, b *graph.Value) bool {
	if a == b {
		return true
	}
	x, okX := a.Node.Attrs.(graph.Const)
	y, okY := b.Node.Attrs.(graph.Const)
	return okX && okY && x.Value.DType == y.Value.DType && x.Value.Size() == y.Value.Size() && slices.Equal(x.Value.Bytes(), y.Value.Bytes())
}

// passThrough removes quantize(move(dequantize(q))), of one scale, where move only moves or chooses elements.
func passThrough(r *rewriter, n *graph.Node) {
	if n.Op.Name == "embedding" {
		if d := dequantized(n.In[0], 0); d != nil {
			r.replace(n.Out[0], r.add(n, "qembedding", nil, d.In[0], d.In[1], d.In[2], n.In[1])[0])
		}
		return
	}
	if n.Op.Name != "quantize_linear" || n.In[1].Shape.Size() != 1 {
		return
	}
	m := n.In[0].Node
	if d := dequantized(n.In[0], -1); d != nil && sameScale(d, n) {
		r.replace(n.Out[0], d.In[0])
		return
	}
	moves := m.Op.Name == "reshape" || m.Op.Name == "transpose" || m.Op.Name == "maxpool2d" && n.In[0].Index == 0 && r.uses[m.Out[1]] == 0
	if !moves {
		return
	}
	d := dequantized(m.In[0], -1)
	if d == nil || !sameScale(d, n) {
		return
	}
	op, attrs := m.Op.Name, m.Attrs
	if a, ok := attrs.(graph.Pool2D); ok {
		op, attrs = "qmaxpool2d", graph.QPool2D{Pool: a}
	}
	r.replace(n.Out[0], r.add(n, op, attrs, d.In[0])[0])
}

// integerProduct fuses a product whose two factors are dequantized, its bias and what follows.
func integerProduct(r *rewriter, n *graph.Node) {
	var wAxis int
	var rq graph.Requant
	var conv graph.Conv2D
	matmul, isMatMul := n.Attrs.(graph.MatMul)
	switch {
	case n.Op.Name == "matmul" && isMatMul:
		if matmul.TransA || matmul.Act != "" || matmul.ActGrad != "" || matmul.KeepPre || matmul.Residual || len(n.In[1].Shape) != 2 {
			return
		}
		wAxis, rq.Bias = 1, matmul.Bias
		if matmul.TransB {
			wAxis = 0
		}
	case n.Op.Name == "conv2d":
		conv = n.Attrs.(graph.Conv2D)
		if conv.Act != "" {
			return
		}
		rq.Bias = conv.Bias
	default:
		return
	}
	x, w := dequantized(n.In[0], -1), dequantized(n.In[1], wAxis)
	if x == nil || w == nil || x.In[0].DType == tensor.I32 || w.In[0].DType == tensor.I32 {
		return
	}
	in := []*graph.Value{x.In[0], x.In[1], x.In[2], w.In[0], w.In[1], w.In[2]}
	end := quantizedOnce(r, n.Out[0], &rq.Act)
	last := n.Out[0]
	if end != nil {
		rq.Out, last = end.In[2].DType, end.Out[0]
		in = append(in, end.In[1], end.In[2])
	} else {
		rq.Out, rq.Act = tensor.F32, ""
	}
	if rq.Bias {
		b := integerBias(n.In[2], x, w)
		if b == nil {
			return
		}
		in = append(in, b)
	}
	at, residual := n, (*graph.Value)(nil)
	if end != nil {
		at = end
	} else {
		last, at, residual = floatEnd(r, n, &rq)
		if residual != nil {
			rq.Residual = true
			in = append(in, residual)
		}
	}
	op, attrs := "qmatmul", any(graph.QMatMul{Requant: rq, TransB: matmul.TransB})
	if !isMatMul {
		conv.Bias = false
		op, attrs = "qconv2d", graph.QConv2D{Requant: rq, Conv: conv}
	}
	r.replace(last, r.add(at, op, attrs, in...)[0])
}

// integerBias returns the bias as the sums take it: the I32 tensor where its scale is that of the sums, xs·ws, an f32
// one as it is. A dequantized bias of another scale stays float.
func integerBias(b *graph.Value, x, w *graph.Node) *graph.Value {
	d := dequantized(b, 0)
	if d == nil {
		return b
	}
	xs, ok1 := x.In[1].Node.Attrs.(graph.Const)
	ws, ok2 := w.In[1].Node.Attrs.(graph.Const)
	bs, ok3 := d.In[1].Node.Attrs.(graph.Const)
	bz, ok4 := d.In[2].Node.Attrs.(graph.Const)
	if !ok1 || !ok2 || !ok3 || !ok4 || d.In[0].DType != tensor.I32 {
		return b
	}
	sx, sw, sb := tensor.Data[float32](xs.Value)[0], tensor.Data[float32](ws.Value), tensor.Data[float32](bs.Value)
	if len(sb) != len(sw) || slices.ContainsFunc(bz.Value.Bytes(), func(z byte) bool { return z != 0 }) {
		return b
	}
	for i, s := range sw {
		if sb[i] != sx*s {
			return b
		}
	}
	return d.In[0]
}

// floatEnd takes the activation or the residual sum behind a product that stays float into it: the value it replaces,
// the node at whose place it must stand, the residual.
func floatEnd(r *rewriter, n *graph.Node, rq *graph.Requant) (last *graph.Value, at *graph.Node, residual *graph.Value) {
	last, at = n.Out[0], n
	if !r.only(last) {
		return
	}
	m := onlyReader(r, last)
	if m == nil {
		return
	}
	switch m.Op.Name {
	case "relu", "gelu", "silu":
		rq.Act = actName(m)
		return m.Out[0], m, nil
	case "add":
		other := m.In[0]
		if other == last {
			other = m.In[1]
		}
		if other != last && other.Type.Equal(last.Type) && m.Out[0].Type.Equal(last.Type) {
			if _, isFill := number(other); !isFill {
				return m.Out[0], m, other
			}
		}
	}
	return
}
