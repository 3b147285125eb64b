//go:build cgo

package kernels

// #include "loss.h"
import "C"

import (
	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

// newLoss describes logits and targets for C; nil where they are not f32 and i32, or not all columns are classes.
func newLoss(c *Call, logits, targets View) *C.rg_loss {
	a := c.Attrs.(graph.CrossEntropy)
	if logits.DType != tensor.F32 || targets.DType != tensor.I32 || logits.Shape.Size() == 0 || a.Of(logits.Shape[1]) != logits.Shape[1] {
		return nil
	}
	l := &C.rg_loss{
		logits: f32(logits), targets: (*C.int32_t)(targets.Ptr()),
		rows: C.long(logits.Shape[0]), v: C.long(logits.Shape[1]), first: C.long(a.First), total: C.long(targets.Shape[0]),
		smoothing: C.float(a.Smoothing), ignore: C.int64_t(a.Ignore), seed: C.float(a.Seed),
	}
	if a.HasIgnore {
		l.has_ignore = 1
	}
	return l
}

func init() {
	registerFast("cross_entropy", func(c *Call) func() {
		l := newLoss(c, c.In[0], c.In[1])
		if l == nil {
			return nil
		}
		l.loss, l.lse = f32(c.Out[0]), f32(c.Out[1])
		return single(c, C.rg_cross_entropy, l)
	})
	registerFast("cross_entropy_grad", func(c *Call) func() {
		l := newLoss(c, c.In[1], c.In[2])
		if l == nil || !allDType(tensor.F32, []View{c.In[0], c.In[3]}) {
			return nil
		}
		l.dloss, l.lse, l.dlogits = f32(c.In[0]), f32(c.In[3]), f32(c.Out[0])
		return single(c, C.rg_cross_entropy_grad, l)
	})
	registerFast("cross_entropy_fused", func(c *Call) func() {
		l := newLoss(c, c.In[0], c.In[1])
		if l == nil {
			return nil
		}
		l.loss, l.dlogits = f32(c.Out[0]), f32(c.Out[1])
		return single(c, C.rg_cross_entropy_fused, l)
	})
}
