//go:build cgo

package kernels

// #cgo noescape rg_softmax
// #cgo nocallback rg_softmax
// #cgo noescape rg_log_softmax
// #cgo nocallback rg_log_softmax
// #cgo noescape rg_softmax_grad
// #cgo nocallback rg_softmax_grad
// #cgo noescape rg_log_softmax_grad
// #cgo nocallback rg_log_softmax_grad
// #include "softmax.h"
import "C"

import (
	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

// f32 returns the address of a float32 view for C.
func f32(v View) *C.float { return (*C.float)(v.Ptr()) }

// lastAxis returns rows and columns of input 0 where the attribute's axis is innermost and all is float32.
func lastAxis(c *Call) (rows, cols C.long, ok bool) {
	s := c.In[0].Shape
	axis, _ := s.Axis(c.Attrs.(graph.Softmax).Axis)
	ok = s[axis+1:].Size() == 1 && s.Size() > 0 && allDType(tensor.F32, c.In, c.Out)
	return C.long(s[:axis].Size()), C.long(s[axis]), ok
}

func init() {
	registerFast("softmax", func(c *Call) func() {
		rows, cols, ok := lastAxis(c)
		if !ok {
			return nil
		}
		y, x := f32(c.Out[0]), f32(c.In[0])
		return func() { C.rg_softmax(y, x, rows, cols) }
	})
	registerFast("log_softmax", func(c *Call) func() {
		rows, cols, ok := lastAxis(c)
		if !ok {
			return nil
		}
		y, x := f32(c.Out[0]), f32(c.In[0])
		return func() { C.rg_log_softmax(y, x, rows, cols) }
	})
	registerFast("softmax_grad", func(c *Call) func() {
		rows, cols, ok := lastAxis(c)
		if !ok {
			return nil
		}
		dx, y, dy := f32(c.Out[0]), f32(c.In[0]), f32(c.In[1])
		return func() { C.rg_softmax_grad(dx, y, dy, rows, cols) }
	})
	registerFast("log_softmax_grad", func(c *Call) func() {
		rows, cols, ok := lastAxis(c)
		if !ok {
			return nil
		}
		dx, y, dy := f32(c.Out[0]), f32(c.In[0]), f32(c.In[1])
		return func() { C.rg_log_softmax_grad(dx, y, dy, rows, cols) }
	})
}
