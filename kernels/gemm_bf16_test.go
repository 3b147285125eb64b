//go:build cgo

package kernels

import (
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"ringo/runtime/tensor"
)

// bf16Products are cut in every way that the driver of bf16 factors knows: A loaded where it lies or packed (rows that do not begin
// lines, rows 2 KiB apart, ends of m and k), one or several panels of columns and chunks of k, ends of n.
var bf16Products = []struct{ m, n, k, padA, padB, padC int }{
	{64, 96, 128, 0, 0, 0}, {70, 50, 96, 0, 0, 0}, {33, 65, 72, 0, 0, 0}, {40, 40, 128, 32, 64, 32}, {64, 64, 64, 7, 3, 5},
	{32, 48, 1024, 0, 0, 0}, {48, 64, 800, 0, 0, 0}, {37, 500, 1024, 0, 1, 0}, {100, 70, 2500, 0, 0, 0}, {33, 550, 2600, 28, 0, 1}, {600, 40, 160, 0, 0, 0},
}

// strided multiplies in float64 and returns the sums, and those of magnitudes.
func strided(p gemmProduct) (sum, mag []float64) {
	a, b := p.A.Float64s(), p.B.Float64s()
	lda, ldb := pick(p.TA, p.M, p.K)+p.PadA, pick(p.TB, p.K, p.N)+p.PadB
	sum, mag = make([]float64, p.M*p.N), make([]float64, p.M*p.N)
	for i := range p.M {
		for k := range p.K {
			x := a[pick(p.TA, k*lda+i, i*lda+k)]
			for j := range p.N {
				v := x * b[pick(p.TB, j*ldb+k, k*ldb+j)]
				sum[i*p.N+j] += v
				mag[i*p.N+j] += math.Abs(v)
			}
		}
	}
	return sum, mag
}

// TestGEMMBF16 compares products of bf16 factors with float64, in f32 and bf16, demands the same bits of any number of threads, and
// that nothing is written between the rows of C.
func TestGEMMBF16(t *testing.T) {
	defer initCPU(len(isaNames)-1, 2)
	for _, s := range bf16Products {
		for flags := range 4 {
			ta, tb := flags&1 != 0, flags&2 != 0
			p := gemmProduct{M: s.m, N: s.n, K: s.k, TA: ta, TB: tb, PadA: s.padA, PadB: s.padB, PadC: s.padC, Precision: tensor.BF16,
				A: gen(t, 1, tensor.BF16, signed, pick(ta, s.k, s.m), pick(ta, s.m, s.k)+s.padA),
				B: gen(t, 2, tensor.BF16, signed, pick(tb, s.n, s.k), pick(tb, s.k, s.n)+s.padB)}
			sum, mag := strided(p)
			for dt, tol := range map[tensor.DType]float64{tensor.F32: 0, tensor.BF16: 1.0 / (1 << 8)} { // bf16 keeps 8 bits
				p.C = gen(t, 3, dt, signed, s.m, s.n+s.padC)
				name, before := fmt.Sprintf("%+v ta %v tb %v %v", s, ta, tb, dt), p.C.Float64s()
				initCPU(len(isaNames)-1, 2)
				p.run()
				got := p.C.Float64s()
				for i := range got {
					row, col := i/(s.n+s.padC), i%(s.n+s.padC)
					if at := row*s.n + col; col >= s.n {
						require.Equal(t, before[i], got[i], "%s: between rows", name)
					} else if d := math.Abs(got[i] - sum[at]); !(d <= math.Abs(sum[at])*tol+mag[at]/(1<<20)) {
						require.Failf(t, name, "element (%d,%d) is %g, expected %g", row, col, got[i], sum[at])
					}
				}
				want := append([]byte{}, p.C.Bytes()...)
				for threads := 1; threads <= 5; threads += 2 {
					initCPU(len(isaNames)-1, threads)
					p.run()
					require.Equal(t, want, p.C.Bytes(), "%s: %d threads", name, threads)
				}
			}
		}
	}
}
