//go:build cgo

package kernels

import (
	"testing"

	"github.com/stretchr/testify/require"

	"ringo/runtime/tensor"
)

// narrowProducts are products with a short side of n: A·Bᵀ with n columns, A·B with n of k, Aᵀ·B with n rows.
func narrowProducts(n int) []gemmProduct {
	return []gemmProduct{{M: 37, N: n, K: 70, TB: true}, {M: 37, N: 131, K: n}, {M: n, N: 131, K: 70, TA: true}}
}

// TestGEMMNarrow compares products with one short side, and their ends, with float64.
func TestGEMMNarrow(t *testing.T) {
	eachPath(t, func(t *testing.T) {
		for n := 1; n <= 17; n++ {
			for _, p := range narrowProducts(n) {
				p.Batch, p.Act, p.Beta = 1, "relu", 0.5
				p.A, p.B = gen(t, 1, tensor.F32, signed, p.M, p.K), gen(t, 2, tensor.F32, signed, p.K, p.N)
				p.C, p.Pre = gen(t, 3, tensor.F32, signed, p.M, p.N), gen(t, 4, tensor.F32, signed, p.M, p.N)
				p.Bias = gen(t, 5, tensor.F32, signed, p.N)
				before := p.C.Float64s()
				p.run()
				checkEpilogue(t, p, before, 1e-5)
			}
		}
	})
}

// TestGEMMNarrowThreads demands the same bits from any number of threads, and from the serial entry.
func TestGEMMNarrowThreads(t *testing.T) {
	defer initCPU(len(isaNames)-1, 2)
	for _, p := range []gemmProduct{{M: 128, N: 10, K: 257, TB: true}, {M: 131, N: 300, K: 10}, {M: 10, N: 300, K: 131, TA: true}} {
		p.A, p.B, p.C = gen(t, 1, tensor.F32, signed, p.M, p.K), gen(t, 2, tensor.F32, signed, p.K, p.N), gen(t, 3, tensor.F32, signed, p.M, p.N)
		p.Serial = true
		p.run()
		want := append([]byte{}, p.C.Bytes()...)
		p.Serial = false
		for threads := 1; threads <= 5; threads++ {
			initCPU(len(isaNames)-1, threads)
			p.run()
			require.Equal(t, want, p.C.Bytes(), "%d×%d, k = %d: %d threads", p.M, p.N, p.K, threads)
		}
	}
}
