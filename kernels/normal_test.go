//go:build cgo && amd64

package kernels

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"ringo/runtime/tensor"
)

// At every level, any length and any number of threads, numbers have the bits of Philox.FillNormal; what lies behind them stays.
func TestNormalHasGosBits(t *testing.T) {
	defer initCPU(maxISA(), 2)
	for level := range isaNames {
		for _, threads := range []int{1, 3} {
			initCPU(level, threads)
			for _, n := range []int{1, 2, 3, 5, 31, 32, 33, 64, 1 << 14, 1<<16 + 7, 1 << 18} {
				p := tensor.NewPhilox(uint64(n)<<33|5, 0xfedcba9876543210)
				p.Counter[0] = 77
				want, got := make([]float32, n), make([]float32, n+1)
				got[n] = 42
				q := p
				q.FillNormal(want, 0.25, 0.02)
				FillNormal(got[:n], p, 0.25, 0.02)
				for i := range want {
					require.Equal(t, math.Float32bits(want[i]), math.Float32bits(got[i]), "%s, number %d of %d", isaNames[level], i, n)
				}
				require.EqualValues(t, 42, got[n])
			}
		}
	}
}

func BenchmarkNormal(b *testing.B) {
	dst := make([]float32, 1<<20)
	fills := map[string]func(){
		"vectors": func() { FillNormal(dst, tensor.NewPhilox(1, 2), 0, 0.02) },
		"go": func() {
			p := tensor.NewPhilox(1, 2)
			p.FillNormal(dst, 0, 0.02)
		},
	}
	Init(0)
	for name, fill := range fills {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				fill()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(dst)), "ns/number")
		})
	}
}
