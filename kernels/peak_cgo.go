//go:build cgo

package kernels

// #include "gemm.h"
import "C"

import (
	"time"

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
