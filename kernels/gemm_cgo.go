//go:build cgo

package kernels

// #include "gemm.h"
// #include <stdlib.h>
import "C"

import (
	"time"
	"unsafe"

	"ringo/runtime/tensor"
)

// Peak measures what matrix products of a precision (F32 or BF16) can reach on this machine, in GFLOP/s: the microkernel on
// panels that stay in the first-level cache, on every thread, the best of 20 runs of about a millisecond. Where F32 products run as sums
// of bf16 products, one multiplication of numbers counts once, not six times.
func Peak(precision tensor.DType) float64 {
	Init(0)
	kind := C.int(C.RG_GEMM_F32)
	if precision == tensor.BF16 {
		kind = C.RG_GEMM_BF16
	}
	repeats, best := C.long(256), 0.0
	for range 20 {
		start := time.Now()
		work := float64(C.rg_gemm_peak_work(kind, repeats))
		took := time.Since(start)
		best = max(best, work/float64(took.Nanoseconds()))
		if took < time.Millisecond {
			repeats *= 2
		}
	}
	return best
}

// useF32 makes f32 products use "fma" or "amx", or with "" what suits their shape. For tests.
func useF32(path string) {
	C.rg_gemm_f32_path(map[string]C.int{"fma": 0, "amx": 1, "": -1}[path])
}

// gemmProduct is rg_gemm on Go's tensors, so that tests reach what the graph's matmul does not ask for. Absent tensors are nil; bias
// has N elements, or M where BiasRows; Pre, DactPre and Residual have C's element type.
type gemmProduct struct {
	M, N, K, Batch         int
	A, B, C                *tensor.Tensor
	TA, TB                 bool
	Blocks                 bool // B holds the blocks of a matrix, gemm_blocks.h
	Slope                  bool // Pre is act's derivative
	PadA, PadB, PadC       int  // numbers between the rows of a matrix that are not its own
	StrideA, StrideB       int  // 0 repeats one matrix over the batch
	Bias                   *tensor.Tensor
	BiasRows               bool
	Act, Dact              string
	Pre, DactPre, Residual *tensor.Tensor
	Beta                   float32
	Precision              tensor.DType
	Serial                 bool
}

// run multiplies. The tensors must not lie in Go's heap (newOffHeap), as C keeps pointers to several of them in one struct.
func (p gemmProduct) run() {
	ptr := func(t *tensor.Tensor) unsafe.Pointer {
		if t == nil {
			return nil
		}
		return unsafe.Pointer(unsafe.SliceData(t.Bytes()))
	}
	half := func(t *tensor.Tensor) C.int { return flag(t != nil && t.DType == tensor.BF16) }
	g := (*C.rg_gemm)(C.calloc(1, C.sizeof_rg_gemm))
	defer C.free(unsafe.Pointer(g))
	g.m, g.n, g.k, g.batch = C.long(p.M), C.long(p.N), C.long(p.K), C.long(p.Batch)
	g.a, g.a_bf16, g.ta, g.lda, g.stride_a = ptr(p.A), half(p.A), flag(p.TA), C.long(pick(p.TA, p.M, p.K)+p.PadA), C.long(p.StrideA)
	g.b, g.b_bf16, g.tb, g.ldb, g.stride_b = ptr(p.B), half(p.B), flag(p.TB), C.long(pick(p.TB, p.K, p.N)+p.PadB), C.long(p.StrideB)
	g.c, g.c_bf16, g.ldc, g.stride_c = ptr(p.C), half(p.C), C.long(p.N+p.PadC), C.long(p.M*(p.N+p.PadC))
	g.bias, g.bias_bf16, g.bias_rows = ptr(p.Bias), half(p.Bias), flag(p.BiasRows)
	g.act, g.dact, g.beta = gemmActs[p.Act], gemmActs[p.Dact], C.float(p.Beta)
	g.pre, g.dact_pre, g.residual = ptr(p.Pre), ptr(p.DactPre), ptr(p.Residual)
	g.b_blocks, g.slope = flag(p.Blocks), flag(p.Slope)
	g.precision = flag(p.Precision == tensor.BF16)
	if p.Serial {
		C.rg_gemm_serial(g)
	} else {
		C.rg_gemm_run(g)
	}
}
