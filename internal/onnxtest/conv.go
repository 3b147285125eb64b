package onnxtest

import (
	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

// window is the geometry of a convolution or pooling over the spatial axes of (N,C,d…).
type window struct {
	kernel, stride, dilation, before, after []int
	auto                                    string // auto_pad, where padding is still to be computed
}

// window reads the geometry; kernel stands in for kernel_shape where that is left out.
func (n *node) window(kernel []int) window {
	w := window{kernel: n.ints("kernel_shape", kernel), auto: n.string("auto_pad", "NOTSET")}
	r := len(w.kernel)
	w.stride, w.dilation = n.ints("strides", ones(r)), n.ints("dilations", ones(r))
	pads := n.ints("pads", make([]int, 2*r))
	if len(w.stride) != r || len(w.dilation) != r || len(pads) != 2*r {
		n.fail("kernel %v, strides %v, dilations %v, pads %v: expected one number per spatial axis, two of padding", w.kernel, w.stride, w.dilation, pads)
	}
	w.before, w.after = pads[:r:r], pads[r:]
	return w
}

// split shares padding out by auto_pad; of an odd number, SAME_UPPER puts the larger half after, SAME_LOWER before.
func (w *window) split(axis, total int) {
	total = max(total, 0)
	w.before[axis], w.after[axis] = total/2, total-total/2
	if w.auto == "SAME_LOWER" {
		w.before[axis], w.after[axis] = w.after[axis], w.before[axis]
	}
}

// same resolves auto_pad SAME_*: the output has ⌈in/stride⌉ elements.
func (w *window) same(spatial []int) {
	if w.auto != "SAME_UPPER" && w.auto != "SAME_LOWER" {
		return
	}
	for i, d := range spatial {
		out := (d + w.stride[i] - 1) / w.stride[i]
		w.split(i, (out-1)*w.stride[i]+(w.kernel[i]-1)*w.dilation[i]+1-d)
	}
}

// flat is the geometry over two of w's axes; axis −1 is one of length 1 that is not pooled.
func (w *window) flat(h, v int) (kernel, stride, dilation [2]int, pad [4]int) {
	kernel, stride, dilation = [2]int{1, 1}, [2]int{1, 1}, [2]int{1, 1}
	for i, a := range []int{h, v} {
		if a >= 0 {
			kernel[i], stride[i], dilation[i] = w.kernel[a], w.stride[a], w.dilation[a]
			pad[i], pad[2+i] = w.before[a], w.after[a]
		}
	}
	return kernel, stride, dilation, pad
}

func (w *window) conv(n *node, groups int) graph.Conv2D {
	h, v := 0, 1
	switch len(w.kernel) {
	case 1:
		h, v = -1, 0
	case 2:
	default:
		n.fail("%d spatial axes: expected 1 or 2", len(w.kernel))
	}
	_, stride, dilation, pad := w.flat(h, v)
	return graph.Conv2D{Stride: stride, Dilation: dilation, Pad: pad, Groups: groups}
}

// plane makes (N,C,W) a (N,C,1,W).
func (n *node) plane(x *graph.Value) *graph.Value {
	if len(x.Shape) != 3 {
		return x
	}
	return n.Reshape(x, x.Shape[0], x.Shape[1], 1, x.Shape[2])
}

// line undoes plane where the node's input was a line.
func (n *node) line(y *graph.Value) *graph.Value {
	if len(n.in[0].Shape) != 3 {
		return y
	}
	return n.Reshape(y, y.Shape[0], y.Shape[1], y.Shape[3])
}

func conv(n *node) []*graph.Value {
	x, f := n.in[0], n.in[1]
	w := n.window(f.Shape[2:])
	w.same(x.Shape[2:])
	return one(n.line(n.Conv2D(n.plane(x), n.plane(f), n.input(2), w.conv(n, n.int("group", 1)))))
}

// convTranspose is the derivative of a convolution with the same filters (C,O/groups,k…) by its input. Its size
// is stride·(in−1) + output_padding + extent − padding unless output_shape or auto_pad prescribe it, which then
// decide the padding.
func convTranspose(n *node) []*graph.Value {
	x, f := n.in[0], n.in[1]
	w, groups := n.window(f.Shape[2:]), n.int("group", 1)
	extra := n.ints("output_padding", make([]int, len(w.kernel)))
	want := n.ints("output_shape", nil)
	shape := [4]int{x.Shape[0], f.Shape[1] * groups, 1, 1}
	for i, d := range x.Shape[2:] {
		full := w.stride[i]*(d-1) + extra[i] + (w.kernel[i]-1)*w.dilation[i] + 1
		size := full - w.before[i] - w.after[i]
		if want != nil || w.auto == "SAME_UPPER" || w.auto == "SAME_LOWER" {
			size = d * w.stride[i]
			if want != nil {
				size = want[i]
			}
			w.split(i, full-size) // a size beyond full leaves the last elements without contributions
		}
		shape[4-len(w.kernel)+i] = size
	}
	y := n.Apply("conv2d_dx", graph.Conv2DGrad{Conv: w.conv(n, groups), Shape: shape}, n.plane(x), n.plane(f))
	if b := n.input(2); b != nil {
		y = n.Add(y, n.Reshape(b, 1, -1, 1, 1))
	}
	return one(n.line(y))
}

// pool runs a 2-D pooling op over 1 to 3 spatial axes. Over three it pools axes 1 and 2 and then axis 0: a maximum
// is separable, and so is a mean, as the taps inside x, or inside the padding, form a box.
func (n *node) pool(op string, x *graph.Value, w window, countPad bool) []*graph.Value {
	ceil := n.bool("ceil_mode", false)
	w.same(x.Shape[2:])
	flat := func(x *graph.Value, h, v int) []*graph.Value {
		p := graph.Pool2D{Ceil: ceil, CountPad: countPad}
		p.Kernel, p.Stride, p.Dilation, p.Pad = w.flat(h, v)
		return n.ApplyN(op, p, x)
	}
	s := x.Shape
	switch len(w.kernel) {
	case 1:
		return one(n.line(flat(n.plane(x), -1, 0)[0]))
	case 2:
		return flat(x, 0, 1)
	case 3:
		y := flat(n.Reshape(x, s[0], s[1]*s[2], s[3], s[4]), 1, 2)[0]
		h, v := y.Shape[2], y.Shape[3]
		y = flat(n.Reshape(y, s[0], s[1], s[2], h*v), 0, -1)[0]
		return one(n.Reshape(y, s[0], s[1], y.Shape[2], h, v))
	}
	n.fail("%d spatial axes: expected 1 to 3", len(w.kernel))
	return nil
}

func averagePool(n *node) []*graph.Value {
	return n.pool("avgpool2d", n.in[0], n.window(nil), n.bool("count_include_pad", false))[:1]
}

// maxPool: integers of 8 bits go through f32, which holds them exactly.
func maxPool(n *node) []*graph.Value {
	x, byColumn := n.in[0], n.int("storage_order", 0) == 1
	float := x
	if !x.DType.IsFloat() {
		float = n.Cast(x, tensor.F32)
	}
	out := n.pool("maxpool2d", float, n.window(nil), false)
	y := n.Cast(out[0], x.DType)
	if !n.wants(1) {
		return one(y)
	}
	if len(out) < 2 {
		n.fail("indices over %d spatial axes: expected 2", len(x.Shape)-2)
	}
	return []*graph.Value{y, n.poolIndices(out[1], x.Shape, byColumn)}
}

// poolIndices turns ringo's index within a plane, row·W + column, into ONNX's within all of x: plus plane·H·W, and
// with storage_order 1 counted down the columns, column·H + row.
func (n *node) poolIndices(idx *graph.Value, x tensor.Shape, byColumn bool) *graph.Value {
	idx = n.Cast(idx, tensor.I64)
	if byColumn {
		h, w := n.Scalar(float64(x[2]), tensor.I64), n.Scalar(float64(x[3]), tensor.I64)
		row := n.Div(idx, w) // of integers: rounds down
		idx = n.Add(n.Mul(n.Sub(idx, n.Mul(row, w)), h), row)
	}
	plane := n.Reshape(n.iota(x[0]*x[1]), x[0], x[1], 1, 1)
	return n.Add(idx, n.Scale(plane, float64(x[2]*x[3])))
}

func globalPool(op string) builder {
	return func(n *node) []*graph.Value {
		var spatial []int
		for i := range n.in[0].Shape[2:] {
			spatial = append(spatial, 2+i)
		}
		return n.ApplyN(op, graph.Reduce{Axes: spatial, Keep: true}, n.in[0])
	}
}
