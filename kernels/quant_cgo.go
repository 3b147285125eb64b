//go:build cgo

package kernels

// #cgo noescape rg_quantize
// #cgo nocallback rg_quantize
// #cgo noescape rg_dynamic_quantize
// #cgo nocallback rg_dynamic_quantize
// #cgo noescape rg_fake_quantize
// #cgo nocallback rg_fake_quantize
// #cgo noescape rg_dequantize
// #cgo nocallback rg_dequantize
// #cgo noescape rg_q8_maxpool
// #cgo nocallback rg_q8_maxpool
// #include "quant.h"
import "C"

import (
	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

var qTypes = map[tensor.DType]C.int{tensor.I8: C.RG_Q_I8, tensor.U8: C.RG_Q_U8, tensor.F32: C.RG_Q_F32, tensor.I32: C.RG_Q_I32}

func floats(v View) *C.float { return (*C.float)(v.Ptr()) }
func octets(v View) *C.uint8_t {
	return (*C.uint8_t)(v.Ptr())
}

// scaleSlices cuts a tensor into count slices of inner elements with one scale each, in turn; ok is false for blocks.
func scaleSlices(a graph.Quantize, shape, scale tensor.Shape) (count, inner int, ok bool) {
	if a.Block > 0 || shape.Size() == 0 {
		return 0, 0, false
	}
	if scale.Size() == 1 {
		return 1, shape.Size(), true
	}
	axis, err := shape.Axis(a.Axis)
	if err != nil {
		return 0, 0, false
	}
	return shape[:axis+1].Size(), shape[axis+1:].Size(), true
}

func init() {
	registerFast("quantize_linear", func(c *Call) func() {
		a, _ := c.Attrs.(graph.Quantize)
		count, inner, ok := scaleSlices(a, c.In[0].Shape, c.In[1].Shape)
		if !ok || c.In[0].DType != tensor.F32 || c.In[1].DType != tensor.F32 {
			return nil
		}
		x, scale, zero, q := floats(c.In[0]), floats(c.In[1]), octets(c.In[2]), octets(c.Out[0])
		n, in, scales, u8 := C.long(count), C.long(inner), C.long(c.In[1].Shape.Size()), flag(c.Out[0].DType == tensor.U8)
		return func() { C.rg_quantize(x, n, in, scale, zero, scales, u8, q) }
	})
	registerFast("dequantize_linear", func(c *Call) func() {
		a, _ := c.Attrs.(graph.Quantize)
		count, inner, ok := scaleSlices(a, c.In[0].Shape, c.In[1].Shape)
		if !ok || c.Out[0].DType != tensor.F32 {
			return nil
		}
		q, scale, zero, y := c.In[0].Ptr(), floats(c.In[1]), c.In[2].Ptr(), floats(c.Out[0])
		n, in, scales, kind := C.long(count), C.long(inner), C.long(c.In[1].Shape.Size()), qTypes[c.In[0].DType]
		return func() { C.rg_dequantize(q, kind, n, in, scale, zero, scales, y) }
	})
	registerFast("dynamic_quantize", func(c *Call) func() {
		x, n, q, scale, zero := floats(c.In[0]), C.long(c.In[0].Shape.Size()), octets(c.Out[0]), floats(c.Out[1]), octets(c.Out[2])
		return func() { C.rg_dynamic_quantize(x, n, q, scale, zero) }
	})
	registerFast("fake_quantize", bindFakeQuantize)
	registerFast("fake_quantize_grad", bindFakeQuantize)
	registerFast("qmaxpool2d", bindQMaxPool)
	registerFast("qembedding", bindQEmbedding)
}

func bindFakeQuantize(c *Call) func() {
	a, _ := c.Attrs.(graph.FakeQuantize)
	count, inner, ok := scaleSlices(graph.Quantize{Axis: a.Axis}, c.In[0].Shape, c.In[1].Shape)
	if !ok || !allDType(tensor.F32, c.In, c.Out) {
		return nil
	}
	s := C.rg_fake{count: C.long(count), inner: C.long(inner), ranges: C.long(c.In[1].Shape.Size()), symmetric: flag(a.Symmetric)}
	x, lo, hi, y := floats(c.In[0]), floats(c.In[1]), floats(c.In[2]), floats(c.Out[0])
	var dy *C.float
	if len(c.In) == 4 {
		dy = floats(c.In[3])
	}
	return func() { C.rg_fake_quantize(&s, x, lo, hi, dy, y) }
}

func bindQMaxPool(c *Call) func() {
	a := c.Attrs.(graph.QPool2D)
	if !a.NHWC || c.Out[0].Shape.Size() == 0 || c.In[0].Shape.Size() == 0 {
		return nil
	}
	p, x, y := a.Pool.Norm(), c.In[0].Shape, c.Out[0].Shape
	l := func(i int) C.long { return C.long(i) }
	s := C.rg_q8_pool{
		n: l(x[0]), h: l(x[1]), w: l(x[2]), c: l(x[3]), oh: l(y[1]), ow: l(y[2]), kh: l(p.Kernel[0]), kw: l(p.Kernel[1]),
		sh: l(p.Stride[0]), sw: l(p.Stride[1]), dh: l(p.Dilation[0]), dw: l(p.Dilation[1]), pt: l(p.Pad[0]), pl: l(p.Pad[1]),
		u8: flag(c.In[0].DType == tensor.U8),
	}
	in, out := octets(c.In[0]), octets(c.Out[0])
	return func() { C.rg_q8_maxpool(&s, in, out) }
}

// bindQEmbedding dequantizes the rows that are asked for, one by one: they are few and short.
func bindQEmbedding(c *Call) func() {
	table, scale, zero, ids := c.In[0], c.In[1], c.In[2], c.In[3]
	if scale.DType != tensor.F32 || ids.DType != tensor.I32 {
		return nil
	}
	width, index := table.Shape[1], tensor.View[int32](ids.Bytes)
	y, s := tensor.View[float32](c.Out[0].Bytes), tensor.View[float32](scale.Bytes)
	if table.DType == tensor.U8 {
		t, z := table.Bytes, zero.Bytes
		return func() { dequantizeRows(y, t, s, z, index, width) }
	}
	t, z := tensor.View[int8](table.Bytes), tensor.View[int8](zero.Bytes)
	return func() { dequantizeRows(y, t, s, z, index, width) }
}

func dequantizeRows[T int8 | uint8](y []float32, table []T, scale []float32, zero []T, ids []int32, width int) {
	for i, id := range ids {
		k := min(int(id), len(scale)-1)
		s, z := scale[k], int32(zero[k])
		row, out := table[int(id)*width:int(id+1)*width], y[i*width:(i+1)*width]
		for j, q := range row {
			out[j] = float32(int32(q)-z) * s
		}
	}
}
