//go:build cgo

package kernels

// #cgo noescape rg_lerp
// #cgo nocallback rg_lerp
// #cgo noescape rg_grad_norm
// #cgo nocallback rg_grad_norm
// #include "optim.h"
import "C"

import (
	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

// newOptim describes param, grad, m [, v], hyper [, norm] for C; states counts those before hyper. Nil where
// anything is not float32.
func newOptim(c *Call, states int) *C.rg_optim {
	if !allDType(tensor.F32, c.In, c.Out) {
		return nil
	}
	a := &C.rg_optim{
		n: C.long(c.In[0].Shape.Size()), param: f32(c.In[0]), grad: f32(c.In[1]), m: f32(c.In[2]), hyper: f32(c.In[states]),
	}
	if len(c.In) > states+1 {
		a.norm = f32(c.In[states+1])
	}
	return a
}

func init() {
	registerFast("adamw", func(c *Call) func() {
		a, set := newOptim(c, 4), c.Attrs.(graph.AdamW)
		if a == nil {
			return nil
		}
		a.v = f32(c.In[3])
		a.beta1, a.beta2, a.eps, a.decay = C.double(set.Beta1), C.double(set.Beta2), C.double(set.Eps), C.double(set.WeightDecay)
		return single(c, C.rg_adamw, a)
	})
	registerFast("sgd", func(c *Call) func() {
		a, set := newOptim(c, 3), c.Attrs.(graph.SGD)
		if a == nil {
			return nil
		}
		a.beta1, a.decay = C.double(set.Momentum), C.double(set.WeightDecay)
		if set.Nesterov {
			a.nesterov = 1
		}
		return single(c, C.rg_sgd, a)
	})
	registerFast("lion", func(c *Call) func() {
		a, set := newOptim(c, 3), c.Attrs.(graph.Lion)
		if a == nil {
			return nil
		}
		a.beta1, a.beta2, a.decay = C.double(set.Beta1), C.double(set.Beta2), C.double(set.WeightDecay)
		return single(c, C.rg_lion, a)
	})
	registerFast("lerp", func(c *Call) func() {
		if !allDType(tensor.F32, c.In, c.Out) {
			return nil
		}
		set := c.Attrs.(graph.Lerp)
		state, value, n := f32(c.In[0]), f32(c.In[1]), C.long(c.In[0].Shape.Size())
		keep, add := C.float(1-set.Alpha), C.float(set.Alpha*set.Scale)
		return func() { C.rg_lerp(state, value, keep, add, n) }
	})
	registerFast("grad_norm", func(c *Call) func() {
		if !allDType(tensor.F32, c.In, c.Out) {
			return nil
		}
		out, grad, hyper, n := f32(c.Out[0]), f32(c.In[0]), f32(c.In[1]), C.long(c.In[0].Shape.Size())
		limit := C.float(c.Attrs.(graph.GradNorm).Max)
		return func() { C.rg_grad_norm(out, grad, hyper, limit, n) }
	})
}
