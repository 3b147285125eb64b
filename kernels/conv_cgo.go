//go:build cgo

package kernels

// #cgo noescape rg_conv2d
// #cgo nocallback rg_conv2d
// #cgo noescape rg_conv2d_dx
// #cgo nocallback rg_conv2d_dx
// #cgo noescape rg_conv2d_dw
// #cgo nocallback rg_conv2d_dw
// #cgo noescape rg_conv2d_db
// #cgo nocallback rg_conv2d_db
// #include "conv.h"
import "C"

import (
	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

// convShape describes x (N,C,H,W) convolved with w (O,C/groups,KH,KW) to y for C.
func convShape(a graph.Conv2D, x, w, y []int) C.rg_conv_shape {
	a = a.Norm()
	l := func(i int) C.long { return C.long(i) }
	s := C.rg_conv_shape{
		n: l(x[0]), c: l(x[1]), h: l(x[2]), w: l(x[3]),
		o: l(y[1]), oh: l(y[2]), ow: l(y[3]), kh: l(w[2]), kw: l(w[3]),
		sh: l(a.Stride[0]), sw: l(a.Stride[1]), dh: l(a.Dilation[0]), dw: l(a.Dilation[1]),
		pt: l(a.Pad[0]), pl: l(a.Pad[1]), g: l(a.Groups),
	}
	if a.Act == "relu" {
		s.relu = 1
	}
	return s
}

// convReady: all is float32 and nothing is empty.
func convReady(c *Call) bool {
	for _, v := range []View{c.In[0], c.In[1], c.Out[0]} {
		if v.Shape.Size() == 0 {
			return false
		}
	}
	return allDType(tensor.F32, c.In, c.Out)
}

func init() {
	registerFast("conv2d", func(c *Call) func() {
		if !convReady(c) {
			return nil
		}
		s := convShape(c.Attrs.(graph.Conv2D), c.In[0].Shape, c.In[1].Shape, c.Out[0].Shape)
		x, w, y := f32(c.In[0]), f32(c.In[1]), f32(c.Out[0])
		var bias *C.float
		if len(c.In) == 3 {
			bias = f32(c.In[2])
		}
		return func() { C.rg_conv2d(&s, x, w, bias, y) }
	})
	registerFast("conv2d_dx", func(c *Call) func() {
		if !convReady(c) {
			return nil
		}
		s := convShape(c.Attrs.(graph.Conv2DGrad).Conv, c.Out[0].Shape, c.In[1].Shape, c.In[0].Shape)
		dy, w, dx := f32(c.In[0]), f32(c.In[1]), f32(c.Out[0])
		return func() { C.rg_conv2d_dx(&s, dy, w, dx) }
	})
	registerFast("conv2d_dw", func(c *Call) func() {
		if !convReady(c) {
			return nil
		}
		s := convShape(c.Attrs.(graph.Conv2DGrad).Conv, c.In[0].Shape, c.Out[0].Shape, c.In[1].Shape)
		x, dy, dw := f32(c.In[0]), f32(c.In[1]), f32(c.Out[0])
		return func() { C.rg_conv2d_dw(&s, x, dy, dw) }
	})
	registerFast("conv2d_db", func(c *Call) func() {
		s := c.In[0].Shape
		if !allDType(tensor.F32, c.In, c.Out) || s.Size() == 0 {
			return nil
		}
		n, ch, hw, dy, db := C.long(s[0]), C.long(s[1]), C.long(s[2]*s[3]), f32(c.In[0]), f32(c.Out[0])
		return func() { C.rg_conv2d_db(n, ch, hw, dy, db) }
	})
}
