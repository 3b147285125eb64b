//go:build cgo

package kernels

// #include "gemm_update.h"
import "C"

import (
	"math"

	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

func init() { registerFast("matmul_adamw", bindMatMulAdamW) }

func bindMatMulAdamW(c *Call) func() {
	a := c.Attrs.(graph.MatMulAdamW)
	s, _, err := graph.MatMul{TransA: a.TransA, TransB: a.TransB}.Sizes(c.In[4].Shape, c.In[5].Shape)
	if err != nil || s.M*s.N*s.K == 0 || !allDType(tensor.F32, c.In[:4], c.Out[:3]) || a.Blocks && !hasAMX() {
		return nil
	}
	for _, v := range c.In[4:6] {
		if v.DType != tensor.F32 && v.DType != tensor.BF16 {
			return nil
		}
	}
	u := &C.rg_matmul_adamw_args{}
	g := &u.gemm
	g.m, g.n, g.k = C.long(s.M), C.long(s.N), C.long(s.K)
	g.a, g.ta, g.lda = c.In[4].Ptr(), flag(a.TransA), C.long(pick(a.TransA, s.M, s.K))
	g.b, g.tb, g.ldb = c.In[5].Ptr(), flag(a.TransB), C.long(pick(a.TransB, s.K, s.N))
	g.a_bf16, g.b_bf16 = flag(c.In[4].DType == tensor.BF16), flag(c.In[5].DType == tensor.BF16)
	g.c, g.ldc = c.In[0].Ptr(), C.long(s.N)
	g.precision = flag(c.Precision == tensor.BF16)
	u.optim.m, u.optim.v, u.optim.hyper = f32(c.In[1]), f32(c.In[2]), f32(c.In[3])
	u.optim.beta1, u.optim.beta2 = C.double(a.AdamW.Beta1), C.double(a.AdamW.Beta2)
	u.optim.eps, u.optim.decay = C.double(a.AdamW.Eps), C.double(a.AdamW.WeightDecay)
	if a.Rows {
		if c.In[6].DType != tensor.F32 || max(c.In[7].Shape.Size(), s.M) > math.MaxInt32-2 {
			return nil
		}
		u.rows, u.ids, u.wide, u.count = f32(c.In[6]), c.In[7].Ptr(), cBool(c.In[7].DType == tensor.I64), C.long(c.In[7].Shape.Size())
	}
	if a.Blocks {
		u.blocks = (*C.uint16_t)(c.Out[3].Ptr())
	}
	return single(c, C.rg_matmul_adamw, u)
}
