package onnxtest

import (
	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

// zero returns input i, or a zero point of 0 for a scale where it is left out.
func (n *node) zero(i int, d tensor.DType, scale *graph.Value) *graph.Value {
	if z := n.input(i); z != nil {
		return z
	}
	return n.Const(tensor.New(d, scale.Shape...))
}

func (n *node) quantize() graph.Quantize {
	n.bool("saturate", true) // concerns 8-bit floating point only
	n.int("output_dtype", 0) // the zero point's type, where there is one, says the same
	n.int("precision", 0)
	return graph.Quantize{Axis: n.int("axis", 1), Block: n.int("block_size", 0)}
}

func quantizeLinear(n *node) []*graph.Value {
	a, scale := n.quantize(), n.in[1]
	return n.ApplyN("quantize_linear", a, n.in[0], scale, n.zero(2, tensor.U8, scale))
}

func dequantizeLinear(n *node) []*graph.Value {
	a, scale := n.quantize(), n.in[1]
	return n.ApplyN("dequantize_linear", a, n.in[0], scale, n.zero(2, n.in[0].DType, scale))
}

func dynamicQuantize(n *node) []*graph.Value { return n.ApplyN("dynamic_quantize", nil, n.in[0]) }

// qlinearMatMul: a stack of matrices times a stack is as many products.
func qlinearMatMul(n *node) []*graph.Value {
	a, b := n.in[0], n.in[3]
	attrs := graph.QMatMul{Requant: graph.Requant{Out: n.in[7].DType}}
	product := func(a, b *graph.Value) *graph.Value {
		return n.Apply("qmatmul", attrs, a, n.in[1], n.in[2], b, n.in[4], n.in[5], n.in[6], n.in[7])
	}
	if len(b.Shape) == 2 {
		return one(product(a, b))
	}
	var parts []*graph.Value
	for i := range b.Shape[0] {
		x, w := n.SliceAxis(a, 0, i, i+1), n.SliceAxis(b, 0, i, i+1)
		parts = append(parts, product(x, n.Reshape(w, w.Shape[1:]...)))
	}
	return one(n.Concat(0, parts...))
}

// sums is the Requant that leaves the int32 sums as they are; the scales of one are not used.
var sums = graph.Requant{Out: tensor.I32}

func (n *node) unit() *graph.Value { return n.Const(tensor.Of(tensor.Shape{}, float32(1))) }

func matMulInteger(n *node) []*graph.Value {
	a, b, scale := n.in[0], n.in[1], n.unit()
	return n.ApplyN("qmatmul", graph.QMatMul{Requant: sums}, a, scale, n.zero(2, a.DType, scale), b, scale, n.zero(3, b.DType, scale))
}

func qlinearConv(n *node) []*graph.Value {
	x, f := n.in[0], n.in[3]
	w := n.window(f.Shape[2:])
	w.same(x.Shape[2:])
	attrs := graph.QConv2D{Requant: graph.Requant{Out: n.in[7].DType}, Conv: w.conv(n, n.int("group", 1))}
	in := append([]*graph.Value{x}, n.in[1:8]...)
	if bias := n.input(8); bias != nil {
		attrs.Bias, in = true, append(in, bias)
	}
	return n.ApplyN("qconv2d", attrs, in...)
}

func convInteger(n *node) []*graph.Value {
	x, f, scale := n.in[0], n.in[1], n.unit()
	w := n.window(f.Shape[2:])
	w.same(x.Shape[2:])
	attrs := graph.QConv2D{Requant: sums, Conv: w.conv(n, n.int("group", 1))}
	return n.ApplyN("qconv2d", attrs, x, scale, n.zero(2, x.DType, scale), f, scale, n.zero(3, f.DType, scale))
}
