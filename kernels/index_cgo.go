//go:build cgo

package kernels

// #cgo noescape rg_gather
// #cgo nocallback rg_gather
// #cgo noescape rg_gather_grad
// #cgo nocallback rg_gather_grad
// #include "index.h"
import "C"

import (
	"math"

	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

func init() {
	registerFast("gather", func(c *Call) func() {
		a, _ := c.Attrs.(graph.Gather)
		outer, n, inner := lines(c.In[0].Shape, a.Axis)
		return bindGather(c, outer, n, inner, true)
	})
	registerFast("embedding", func(c *Call) func() {
		return bindGather(c, 1, c.In[0].Shape[0], c.In[0].Shape[1], false)
	})
	registerFast("gather_grad", func(c *Call) func() {
		a, _ := c.Attrs.(graph.GatherGrad)
		outer, n, inner := lines(a.Shape, a.Axis)
		if outer != 1 {
			return nil
		}
		return bindGatherGrad(c, n, inner, true)
	})
	registerFast("embedding_grad", func(c *Call) func() {
		return bindGatherGrad(c, c.Out[0].Shape[0], c.Out[0].Shape[1], false)
	})
}

// cBool is 1 for true.
func cBool(b bool) C.int { return C.int(truth(b)) }

func bindGather(c *Call, outer, n, inner int, wrap bool) func() {
	x, ids, y := c.In[0].Ptr(), c.In[1].Ptr(), c.Out[0].Ptr()
	wide, wraps, nan := cBool(c.In[1].DType == tensor.I64), cBool(wrap), cBool(c.In[0].DType.IsFloat())
	co, cn, count, bytes := C.long(outer), C.long(n), C.long(c.In[1].Shape.Size()), C.long(inner*c.In[0].DType.Size())
	if c.Out[0].Shape.Size() == 0 {
		return nil
	}
	return func() { C.rg_gather(x, ids, wide, wraps, nan, y, co, cn, count, bytes) }
}

func bindGatherGrad(c *Call, n, inner int, wrap bool) func() {
	count := c.In[1].Shape.Size()
	if !allDType(tensor.F32, c.In[:1], c.Out) || c.Out[0].Shape.Size() == 0 || max(count, n) > math.MaxInt32-2 {
		return nil
	}
	dy, ids, dx := (*C.float)(c.In[0].Ptr()), c.In[1].Ptr(), (*C.float)(c.Out[0].Ptr())
	wide, wraps := cBool(c.In[1].DType == tensor.I64), cBool(wrap)
	cn, cc, ci := C.long(n), C.long(count), C.long(inner)
	return func() { C.rg_gather_grad(dy, ids, wide, wraps, dx, cn, cc, ci) }
}
