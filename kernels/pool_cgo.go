//go:build cgo

package kernels

// #cgo noescape rg_maxpool
// #cgo nocallback rg_maxpool
// #cgo noescape rg_maxpool_grad
// #cgo nocallback rg_maxpool_grad
// #cgo noescape rg_avgpool
// #cgo nocallback rg_avgpool
// #cgo noescape rg_avgpool_grad
// #cgo nocallback rg_avgpool_grad
// #include "pool.h"
import "C"

import (
	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

// poolShape describes the pooling of x (N,C,H,W) to y for C; ok says that both are float32 or both
// bfloat16, that none is empty and that indices into a plane fit int32.
func poolShape(a graph.Pool2D, x, y View) (s C.rg_pool_shape, ok bool) {
	a = a.Norm()
	l := func(i int) C.long { return C.long(i) }
	s = C.rg_pool_shape{
		planes: l(x.Shape[0] * x.Shape[1]), h: l(x.Shape[2]), w: l(x.Shape[3]), oh: l(y.Shape[2]), ow: l(y.Shape[3]),
		kh: l(a.Kernel[0]), kw: l(a.Kernel[1]), sh: l(a.Stride[0]), sw: l(a.Stride[1]), dh: l(a.Dilation[0]), dw: l(a.Dilation[1]),
		pt: l(a.Pad[0]), pl: l(a.Pad[1]), pb: l(a.Pad[2]), pr: l(a.Pad[3]),
	}
	if a.CountPad {
		s.count_pad = 1
	}
	if x.DType == tensor.BF16 {
		s.bf16 = 1
	}
	ok = allDType(tensor.F32, []View{x, y}) || allDType(tensor.BF16, []View{x, y})
	return s, ok && x.Shape.Size() > 0 && y.Shape.Size() > 0 && x.Shape[2]*x.Shape[3] < 1<<31
}

func init() {
	i32 := func(v View) *C.int32_t { return (*C.int32_t)(v.Ptr()) }
	registerFast("maxpool2d", func(c *Call) func() {
		s, ok := poolShape(c.Attrs.(graph.Pool2D), c.In[0], c.Out[0])
		if !ok {
			return nil
		}
		x, y, idx := c.In[0].Ptr(), c.Out[0].Ptr(), i32(c.Out[1])
		return func() { C.rg_maxpool(&s, x, y, idx) }
	})
	registerFast("maxpool2d_grad", func(c *Call) func() {
		s, ok := poolShape(c.Attrs.(graph.Pool2DGrad).Pool, c.Out[0], c.In[0])
		if !ok {
			return nil
		}
		dy, idx, dx := c.In[0].Ptr(), i32(c.In[1]), c.Out[0].Ptr()
		return func() { C.rg_maxpool_grad(&s, dy, idx, dx) }
	})
	registerFast("avgpool2d", func(c *Call) func() {
		s, ok := poolShape(c.Attrs.(graph.Pool2D), c.In[0], c.Out[0])
		if !ok {
			return nil
		}
		x, y := c.In[0].Ptr(), c.Out[0].Ptr()
		return func() { C.rg_avgpool(&s, x, y) }
	})
	registerFast("avgpool2d_grad", func(c *Call) func() {
		s, ok := poolShape(c.Attrs.(graph.Pool2DGrad).Pool, c.Out[0], c.In[0])
		if !ok {
			return nil
		}
		dy, dx := c.In[0].Ptr(), c.Out[0].Ptr()
		return func() { C.rg_avgpool_grad(&s, dy, dx) }
	})
}
