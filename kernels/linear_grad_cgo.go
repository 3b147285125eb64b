//go:build cgo

package kernels

// #include "linear_grad.h"
import "C"

import "ringo/runtime/tensor"

func init() { registerFast("linear_grad", bindLinearGrad) }

func bindLinearGrad(c *Call) func() {
	x, dy := c.In[0], c.In[1]
	if !allDType(tensor.F32, c.In, c.Out) || x.Shape.Size()*dy.Shape.Size() == 0 {
		return nil
	}
	k, m, n := x.Shape[0], x.Shape[1], dy.Shape[1]
	a := &C.rg_linear_grad_args{db: f32(c.Out[1])}
	a.gemm.m, a.gemm.n, a.gemm.k = C.long(m), C.long(n), C.long(k)
	a.gemm.a, a.gemm.ta, a.gemm.lda = x.Ptr(), 1, C.long(m)
	a.gemm.b, a.gemm.ldb = dy.Ptr(), C.long(n)
	a.gemm.c, a.gemm.ldc = c.Out[0].Ptr(), C.long(n)
	if c.Precision == tensor.BF16 {
		a.gemm.precision = C.RG_GEMM_BF16
	}
	return single(c, C.rg_linear_grad, a)
}
