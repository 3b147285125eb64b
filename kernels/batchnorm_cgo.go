//go:build cgo

package kernels

// #cgo noescape rg_batchnorm
// #cgo nocallback rg_batchnorm
// #cgo noescape rg_batchnorm_infer
// #cgo nocallback rg_batchnorm_infer
// #cgo noescape rg_batchnorm_grad
// #cgo nocallback rg_batchnorm_grad
// #cgo noescape rg_groupnorm
// #cgo nocallback rg_groupnorm
// #cgo noescape rg_groupnorm_grad
// #cgo nocallback rg_groupnorm_grad
// #include "batchnorm.h"
import "C"

import (
	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

// newBatchNorm describes x (N,C,…) for C; nil where anything is not float32.
func newBatchNorm(c *Call, x View) *C.rg_bnorm {
	if !allDType(tensor.F32, c.In, c.Out) {
		return nil
	}
	n, channels, plane := nchw(x.Shape)
	a := &C.rg_bnorm{n: C.long(n), channels: C.long(channels), plane: C.long(plane), x: f32(x)}
	switch set := c.Attrs.(type) {
	case graph.Norm:
		a.eps = C.float(set.Eps)
	case graph.GroupNorm:
		a.eps, a.groups = C.float(set.Eps), C.long(set.Groups)
	}
	return a
}

// newBatchNormForward adds what the training forms share: x, gain, bias → y, mean, var or rstd.
func newBatchNormForward(c *Call) *C.rg_bnorm {
	a := newBatchNorm(c, c.In[0])
	if a != nil {
		a.gain, a.bias = f32(c.In[1]), f32(c.In[2])
		a.y, a.mean, a._var = f32(c.Out[0]), f32(c.Out[1]), f32(c.Out[2])
	}
	return a
}

// newBatchNormGrad adds what the gradients share: dy, x, gain, mean, var or rstd → dx, dgain, dbias.
func newBatchNormGrad(c *Call) *C.rg_bnorm {
	a := newBatchNorm(c, c.In[1])
	if a != nil {
		a.dy, a.gain, a.mean, a._var = f32(c.In[0]), f32(c.In[2]), f32(c.In[3]), f32(c.In[4])
		a.dx, a.dgain, a.dbias = f32(c.Out[0]), f32(c.Out[1]), f32(c.Out[2])
	}
	return a
}

func init() {
	registerFast("batchnorm", func(c *Call) func() {
		if a := newBatchNormForward(c); a != nil {
			return func() { C.rg_batchnorm(a) }
		}
		return nil
	})
	registerFast("batchnorm_infer", func(c *Call) func() {
		a := newBatchNorm(c, c.In[0])
		if a == nil {
			return nil
		}
		a.gain, a.bias, a.mean, a._var, a.y = f32(c.In[1]), f32(c.In[2]), f32(c.In[3]), f32(c.In[4]), f32(c.Out[0])
		return func() { C.rg_batchnorm_infer(a) }
	})
	registerFast("batchnorm_grad", func(c *Call) func() {
		if a := newBatchNormGrad(c); a != nil {
			return func() { C.rg_batchnorm_grad(a) }
		}
		return nil
	})
	registerFast("groupnorm", func(c *Call) func() {
		if a := newBatchNormForward(c); a != nil {
			return func() { C.rg_groupnorm(a) }
		}
		return nil
	})
	registerFast("groupnorm_grad", func(c *Call) func() {
		if a := newBatchNormGrad(c); a != nil {
			return func() { C.rg_groupnorm_grad(a) }
		}
		return nil
	})
}
