package kernels

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

// TestRoundStochasticIsUnbiased: both neighbours come up, with the mean that x has, within five standard errors; the same
// numbers give the same bits in the plain and the fast version, and another step or seed gives others.
func TestRoundStochasticIsUnbiased(t *testing.T) {
	t.Parallel()
	const n = 40_000
	round := func(x float64, seed, step float64, reference bool) []float64 {
		c := &Call{Op: "round_stochastic", Attrs: graph.RoundStochastic{Key: 7},
			In: []View{offHeap(t, tensor.F32, n), offHeap(t, tensor.I64, 3)}, Out: []View{offHeap(t, tensor.BF16, n)}}
		all := make([]float64, n)
		for i := range all {
			all[i] = x
		}
		c.In[0].Store(all)
		c.In[1].Store([]float64{seed, step, 3})
		run, err := Bind(c, reference)
		require.NoError(t, err)
		run()
		return c.Out[0].Load()
	}
	for _, x := range []float64{1 + 1./1024, -3.14159, 1e-20, 0.3333} {
		x := float64(float32(x))
		bits := math.Float32bits(float32(x)) &^ 0xffff
		down := float64(math.Float32frombits(bits))
		up := float64(math.Float32frombits(bits + 0x10000))
		p := (x - down) / (up - down)
		got, ups := round(x, 1<<40, 5, false), 0.0
		for _, y := range got {
			require.True(t, y == down || y == up, "%g became %g", x, y)
			if y == up {
				ups++
			}
		}
		require.InDelta(t, p, ups/n, 5*math.Sqrt(p*(1-p)/n), "the share of %g that went up", x)
		require.Equal(t, round(x, 1<<40, 5, true), got)
		require.NotEqual(t, round(x, 1<<40, 6, false), got)
		require.NotEqual(t, round(x, 1<<41, 5, false), got)
	}
	for _, x := range []float64{0, 1.5, math.Inf(1), math.Inf(-1)} { // these need no rounding
		require.Equal(t, x, round(x, 1, 1, false)[n-1])
		require.Equal(t, x, round(x, 1, 1, true)[n-1])
	}
	require.True(t, math.IsNaN(round(math.NaN(), 1, 1, false)[0]))
	require.True(t, math.IsNaN(round(math.NaN(), 1, 1, true)[0]))
}
