//go:build cgo

package kernels

// #include "norm.h"
import "C"

import (
	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

// newNorm describes x (…,cols) for C; nil where anything is not float32, but for the output y, which may be bf16.
func newNorm(c *Call, x View, y int) *C.rg_norm {
	for i, v := range c.Out {
		if v.DType != tensor.F32 && !(i == y && v.DType == tensor.BF16) {
			return nil
		}
	}
	if !allDType(tensor.F32, c.In) || x.Shape.Size() == 0 {
		return nil
	}
	cols := x.Shape[len(x.Shape)-1]
	a := &C.rg_norm{
		rows: C.long(x.Shape.Size() / cols), cols: C.long(cols),
		eps: C.float(c.Attrs.(graph.Norm).Eps), x: f32(x),
	}
	if y >= 0 {
		a.y, a.y_bf16 = c.Out[y].Ptr(), flag(c.Out[y].DType == tensor.BF16)
	}
	return a
}

func init() {
	registerFast("layernorm", func(c *Call) func() {
		a := newNorm(c, c.In[0], 0)
		if a == nil {
			return nil
		}
		a.gain, a.bias = f32(c.In[1]), f32(c.In[2])
		a.mean, a.rstd = f32(c.Out[1]), f32(c.Out[2])
		return single(c, C.rg_norm_forward, a)
	})
	registerFast("add_layernorm", func(c *Call) func() {
		a := newNorm(c, c.In[0], 1)
		if a == nil {
			return nil
		}
		a.res, a.gain, a.bias = f32(c.In[1]), f32(c.In[2]), f32(c.In[3])
		a.sum, a.mean, a.rstd = f32(c.Out[0]), f32(c.Out[2]), f32(c.Out[3])
		return single(c, C.rg_norm_forward, a)
	})
	registerFast("rmsnorm", func(c *Call) func() {
		a := newNorm(c, c.In[0], 0)
		if a == nil {
			return nil
		}
		a.gain, a.rstd = f32(c.In[1]), f32(c.Out[1])
		return single(c, C.rg_norm_forward, a)
	})
	registerFast("add_rmsnorm", func(c *Call) func() {
		a := newNorm(c, c.In[0], 1)
		if a == nil {
			return nil
		}
		a.res, a.gain = f32(c.In[1]), f32(c.In[2])
		a.sum, a.rstd = f32(c.Out[0]), f32(c.Out[2])
		return single(c, C.rg_norm_forward, a)
	})
	registerFast("layernorm_grad", func(c *Call) func() {
		a := newNorm(c, c.In[1], -1)
		if a == nil {
			return nil
		}
		a.dy, a.gain, a.mean, a.rstd = f32(c.In[0]), f32(c.In[2]), f32(c.In[3]), f32(c.In[4])
		a.dx, a.dgain, a.dbias = f32(c.Out[0]), f32(c.Out[1]), f32(c.Out[2])
		if len(c.In) == 6 {
			a.dres = f32(c.In[5])
		}
		return single(c, C.rg_norm_grad, a)
	})
	registerFast("rmsnorm_grad", func(c *Call) func() {
		a := newNorm(c, c.In[1], -1)
		if a == nil {
			return nil
		}
		a.dy, a.gain, a.rstd = f32(c.In[0]), f32(c.In[2]), f32(c.In[3])
		a.dx, a.dgain = f32(c.Out[0]), f32(c.Out[1])
		if len(c.In) == 5 {
			a.dres = f32(c.In[4])
		}
		return single(c, C.rg_norm_grad, a)
	})
}
