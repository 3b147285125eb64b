//go:build cgo

package kernels

// #cgo noescape rg_round_stochastic
// #cgo nocallback rg_round_stochastic
// #include "round.h"
import "C"

import "ringo/runtime/graph"

func init() {
	registerFast("round_stochastic", func(c *Call) func() {
		y, x, rng := (*C.uint16_t)(c.Out[0].Ptr()), f32(c.In[0]), (*C.int64_t)(c.In[1].Ptr())
		key, n := C.uint32_t(c.Attrs.(graph.RoundStochastic).Key), C.long(c.In[0].Shape.Size())
		return func() { C.rg_round_stochastic(y, x, rng, key, n) }
	})
}
