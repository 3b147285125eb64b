//go:build !cgo

package kernels

import (
	"time"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas32"

	"ringo/runtime/tensor"
)

// Peak measures what matrix products can reach on this machine, in GFLOP/s: the best of five products of 512×512
// matrices by gonum, which every precision uses where there is no C compiler.
func Peak(tensor.DType) float64 {
	const n = 512
	m := func() blas32.General { return blas32.General{Rows: n, Cols: n, Stride: n, Data: make([]float32, n*n)} }
	a, b, c := m(), m(), m()
	best := 0.0
	for range 5 {
		start := time.Now()
		blas32.Gemm(blas.NoTrans, blas.NoTrans, 1, a, b, 0, c)
		best = max(best, 2*n*n*n/float64(time.Since(start).Nanoseconds()))
	}
	return best
}
