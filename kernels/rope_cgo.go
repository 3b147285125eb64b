//go:build cgo

package kernels

// #cgo noescape rg_rope
// #cgo nocallback rg_rope
// #include "rope.h"
import "C"

import (
	"math"

	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

// ropeTable returns (T, 2, D/2): cos and signed sin of every position.
func ropeTable(r graph.Rope, t, dim int, sign float64) []float32 {
	half := dim / 2
	out := make([]float32, t*dim)
	for i := range half {
		freq := ropeFrequency(r, i, dim)
		for p := range t {
			sin, cos := math.Sincos(sign * float64(p) * freq)
			out[p*dim+i], out[p*dim+half+i] = float32(cos), float32(sin)
		}
	}
	return out
}

func bindRope(c *Call) func() {
	if !allDType(tensor.F32, c.In[:1], c.Out) {
		return nil
	}
	r := c.Attrs.(graph.Rope)
	b, t, turn, heads, dim, err := r.Sizes(c.In[0].Shape)
	if err != nil || b*t*heads*dim == 0 {
		return nil
	}
	sign := 1.0
	if r.Inverse {
		sign = -1
	}
	args := &C.rg_rope_args{rows: C.long(b * t), T: C.long(t), turn: C.long(turn), heads: C.long(heads), D: C.long(dim), sign: C.double(sign)}
	if r.Interleaved {
		args.interleaved = 1
	}
	y, x := f32(c.Out[0]), f32(c.In[0])
	if len(c.In) > 1 {
		args.pos = (*C.int32_t)(c.In[1].Ptr())
		if len(c.In[1].Shape) == 2 {
			args.pos_step = 1
		}
		freq := ropeFreqs(r, dim)
		return func() { C.rg_rope(y, x, args, (*C.float)(nil), (*C.double)(&freq[0])) }
	}
	table := ropeTable(r, t, dim, sign)
	return func() { C.rg_rope(y, x, args, (*C.float)(&table[0]), (*C.double)(nil)) }
}

func ropeFreqs(r graph.Rope, dim int) []float64 {
	out := make([]float64, dim/2)
	for i := range out {
		out[i] = ropeFrequency(r, i, dim)
	}
	return out
}

func init() { registerFast("rope", bindRope) }
