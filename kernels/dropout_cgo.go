//go:build cgo

package kernels

// #cgo noescape rg_dropout
// #cgo nocallback rg_dropout
// #include "dropout.h"
import "C"

import (
	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

func init() {
	registerFast("dropout", func(c *Call) func() {
		a := c.Attrs.(graph.Dropout)
		t := dropoutThreshold(a.P)
		if c.In[0].DType != tensor.F32 || t >= 1<<24 {
			return nil
		}
		y, x, rng := f32(c.Out[0]), f32(c.In[0]), (*C.int64_t)(c.In[1].Ptr())
		// word>>8 ≥ t exactly where word ≥ t<<8
		key, threshold, scale := C.uint32_t(a.Key), C.uint32_t(t<<8), C.float(1/(1-a.P))
		n := C.long(c.In[0].Shape.Size())
		return func() { C.rg_dropout(y, x, rng, key, threshold, scale, n) }
	})
}
