//go:build cgo

package kernels

// #cgo noescape rg_argmax
// #cgo nocallback rg_argmax
// #cgo noescape rg_topk
// #cgo nocallback rg_topk
// #include "reduce.h"
import "C"

import (
	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

func init() {
	for name, code := range map[string]C.int{"sum": C.RG_R_SUM, "mean": C.RG_R_SUM, "max": C.RG_R_MAX, "min": C.RG_R_MIN} {
		registerFast(name, func(c *Call) func() { return bindReduce(c, code) })
	}
	registerFast("argmax", bindArgmax)
	registerFast("topk", bindTopK)
}

// bindReduce covers shapes whose kept and reduced axes alternate as kept, reduced, kept, reduced, where any
// may be missing: rows, columns, channels of NCHW.
func bindReduce(c *Call, code C.int) func() {
	size := c.In[0].Shape.Size()
	if !allDType(tensor.F32, c.In, c.Out) || size == 0 {
		return nil
	}
	a, _ := c.Attrs.(graph.Reduce)
	reduced, err := a.Reduced(c.In[0].Shape)
	if err != nil {
		return nil
	}
	groups, at := [4]int{1, 1, 1, 1}, 0 // outer, n, inner, tail
	for axis, d := range c.In[0].Shape {
		if d == 1 {
			continue
		}
		if reduced[axis] != (at%2 == 1) {
			at++
		}
		if at == len(groups) {
			return nil
		}
		groups[at] *= d
	}
	scale := C.float(1)
	if c.Op == "mean" {
		scale = C.float(float64(c.Out[0].Shape.Size()) / float64(size))
	}
	return single(c, C.rg_reduce_run, &C.rg_reduction{op: code, x: f32(c.In[0]), y: f32(c.Out[0]), scale: scale,
		outer: C.long(groups[0]), n: C.long(groups[1]), inner: C.long(groups[2]), tail: C.long(groups[3])})
}

func bindArgmax(c *Call) func() {
	a, _ := c.Attrs.(graph.ArgMax)
	outer, n, inner := lines(c.In[0].Shape, a.Axis)
	if c.In[0].DType != tensor.F32 || inner != 1 || outer == 0 {
		return nil
	}
	last := C.int(truth(a.Last))
	x, y := (*C.float)(c.In[0].Ptr()), (*C.int64_t)(c.Out[0].Ptr())
	return func() { C.rg_argmax(x, y, C.long(outer), C.long(n), last) }
}

func bindTopK(c *Call) func() {
	a, _ := c.Attrs.(graph.TopK)
	outer, n, inner := lines(c.In[0].Shape, a.Axis)
	if c.In[0].DType != tensor.F32 || inner != 1 || outer == 0 {
		return nil
	}
	smallest := C.int(truth(a.Smallest))
	x, v, idx := (*C.float)(c.In[0].Ptr()), (*C.float)(c.Out[0].Ptr()), (*C.int64_t)(c.Out[1].Ptr())
	return func() { C.rg_topk(x, v, idx, C.long(outer), C.long(n), C.long(a.K), smallest) }
}
