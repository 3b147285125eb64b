//go:build cgo

package kernels

// #include "gemm.h"
// #include <stdlib.h>
import "C"

import (
	"slices"
	"unsafe"

	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

var gemmActs = map[string]C.int{"": C.RG_ACT_NONE, "relu": C.RG_ACT_RELU, "gelu_tanh": C.RG_ACT_GELU_TANH, "gelu": C.RG_ACT_GELU, "silu": C.RG_ACT_SILU, "slope": C.RG_ACT_SLOPE}

func init() { registerFast("matmul", bindMatMul) }

// bindMatMul describes the product once, in C memory, for all the steps to come.
func bindMatMul(c *Call) func() {
	a := c.Attrs.(graph.MatMul)
	for _, v := range slices.Concat(c.In, c.Out) {
		if v.DType != tensor.F32 && v.DType != tensor.BF16 {
			return nil
		}
	}
	s, shape, err := a.Sizes(c.In[0].Shape, c.In[1].Shape)
	if err != nil || s.Batch*s.M*s.N*s.K == 0 {
		return nil
	}
	inBlocks := a.Blocks != [2]int{}
	if inBlocks && (!hasAMX() || c.Precision != tensor.BF16) {
		return nil
	}
	g := (*C.rg_gemm)(C.calloc(1, C.sizeof_rg_gemm))
	half := func(v View) C.int { return flag(v.DType == tensor.BF16) }
	g.m, g.n, g.k, g.batch = C.long(s.M), C.long(s.N), C.long(s.K), C.long(s.Batch)
	g.a, g.a_bf16, g.ta, g.lda = c.In[0].Ptr(), half(c.In[0]), flag(a.TransA), C.long(pick(a.TransA, s.M, s.K))
	g.b, g.b_bf16, g.tb, g.ldb = c.In[1].Ptr(), half(c.In[1]), flag(a.TransB), C.long(pick(a.TransB, s.K, s.N))
	g.b_blocks = flag(inBlocks)
	g.c, g.c_bf16, g.ldc, g.stride_c = c.Out[0].Ptr(), half(c.Out[0]), C.long(s.N), C.long(s.M*s.N)
	rest := c.In[2:]
	take := func(want bool) (p unsafe.Pointer) {
		if want {
			p, rest = rest[0].Ptr(), rest[1:]
		}
		return p
	}
	if a.Bias {
		g.bias_bf16 = half(rest[0])
	}
	g.bias = take(a.Bias)
	if !allDType(c.Out[0].DType, rest, c.Out[1:]) { // what is added to C or kept beside it has its type
		C.free(unsafe.Pointer(g))
		return nil
	}
	g.dact_pre, g.dact = take(a.ActGrad != ""), gemmActs[a.ActGrad]
	g.residual, g.act = take(a.Residual), gemmActs[a.Act]
	if a.KeepPre {
		g.pre, g.slope = c.Out[1].Ptr(), flag(a.Slope)
	}
	if c.Precision == tensor.BF16 {
		g.precision = C.RG_GEMM_BF16
	}
	free := []unsafe.Pointer{unsafe.Pointer(g)}
	if s.Batch > 1 {
		offA, offB := batchOffsets(c, s, shape)
		g.a_off, g.b_off = cLongs(offA), cLongs(offB)
		free = append(free, unsafe.Pointer(g.a_off), unsafe.Pointer(g.b_off))
	}
	return singleAt(c, C.rg_gemm_run, unsafe.Pointer(g), free...)
}

func cLongs(x []int) *C.long {
	p := (*C.long)(C.malloc(C.size_t(len(x)) * C.sizeof_long))
	out := unsafe.Slice(p, len(x))
	for i, v := range x {
		out[i] = C.long(v)
	}
	return p
}

func pick(b bool, yes, no int) int {
	if b {
		return yes
	}
	return no
}

// flag is 1 for true.
func flag(b bool) C.int {
	if b {
		return 1
	}
	return 0
}
