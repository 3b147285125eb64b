//go:build cgo

package kernels

// #cgo noescape rg_muon_step
// #cgo nocallback rg_muon_step
// #include "muon.h"
// #include "gemm.h"
import "C"

import (
	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

func init() {
	registerFast("muon", func(c *Call) func() {
		if !allDType(tensor.F32, c.In, c.Out) {
			return nil
		}
		set, shape := c.Attrs.(graph.Muon), c.In[0].Shape
		m := &C.rg_muon{
			rows: C.long(shape[0]), cols: C.long(shape[1]),
			param: f32(c.In[0]), grad: f32(c.In[1]), mom: f32(c.In[2]), hyper: f32(c.In[3]),
			momentum: C.float(set.Momentum), decay: C.float(set.WeightDecay), scale: C.float(muonScale(set, shape[0], shape[1])),
			a: muonA, b: muonB, c: muonC, eps: muonEps, steps: muonSteps, precision: C.RG_GEMM_F32,
		}
		if len(c.In) > 4 {
			m.norm = f32(c.In[4])
		}
		if set.Steps > 0 {
			m.steps = C.int(set.Steps)
		}
		if set.Nesterov {
			m.nesterov = 1
		}
		if c.Precision == tensor.BF16 {
			m.precision = C.RG_GEMM_BF16
		}
		return func() { C.rg_muon_step(m) }
	})
}
