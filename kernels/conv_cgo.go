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
	"unsafe"

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

// convReady completes a shape with the element type; ok says that all is float32 or all bfloat16 and nothing empty.
func convReady(c *Call, s *C.rg_conv_shape) (ok bool) {
	for _, v := range append(append([]View{}, c.In...), c.Out...) {
		if v.Shape.Size() == 0 {
			return false
		}
	}
	if allDType(tensor.BF16, c.In, c.Out) {
		s.bf16 = 1
		return true
	}
	return allDType(tensor.F32, c.In, c.Out)
}

func init() {
	registerFast("conv2d", func(c *Call) func() {
		s := convShape(c.Attrs.(graph.Conv2D), c.In[0].Shape, c.In[1].Shape, c.Out[0].Shape)
		if !convReady(c, &s) {
			return nil
		}
		x, w, y := c.In[0].Ptr(), c.In[1].Ptr(), c.Out[0].Ptr()
		var bias unsafe.Pointer
		if len(c.In) == 3 {
			bias = c.In[2].Ptr()
		}
		return func() { C.rg_conv2d(&s, x, w, bias, y) }
	})
	registerFast("conv2d_dx", func(c *Call) func() {
		s := convShape(c.Attrs.(graph.Conv2DGrad).Conv, c.Out[0].Shape, c.In[1].Shape, c.In[0].Shape)
		if !convReady(c, &s) {
			return nil
		}
		dy, w, dx := c.In[0].Ptr(), c.In[1].Ptr(), c.Out[0].Ptr()
		return func() { C.rg_conv2d_dx(&s, dy, w, dx) }
	})
	registerFast("conv2d_dw", func(c *Call) func() {
		s := convShape(c.Attrs.(graph.Conv2DGrad).Conv, c.In[0].Shape, c.Out[0].Shape, c.In[1].Shape)
		if !convReady(c, &s) {
			return nil
		}
		x, dy, dw := c.In[0].Ptr(), c.In[1].Ptr(), c.Out[0].Ptr()
		return func() { C.rg_conv2d_dw(&s, x, dy, dw) }
	})
	registerFast("conv2d_db", func(c *Call) func() {
		d := c.In[0].Shape
		s := C.rg_conv_shape{n: C.long(d[0]), o: C.long(d[1]), oh: C.long(d[2]), ow: C.long(d[3])}
		if !convReady(c, &s) {
			return nil
		}
		dy, db := c.In[0].Ptr(), c.Out[0].Ptr()
		return func() { C.rg_conv2d_db(&s, dy, db) }
	})
}
