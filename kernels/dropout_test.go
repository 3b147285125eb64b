package kernels

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

// TestDropoutKeepsTheRightShare: the share kept is 1−P within five standard errors, the kept are scaled by 1/(1−P), and
// another lane, step, key or seed draws another mask.
func TestDropoutKeepsTheRightShare(t *testing.T) {
	t.Parallel()
	const n, p = 40_000, 0.3
	mask := func(seed, step, lane float64, key uint32) []float64 {
		c := &Call{Op: "dropout", Attrs: graph.Dropout{P: p, Key: key}, In: []View{offHeap(t, tensor.F32, n), offHeap(t, tensor.I64, 3)}, Out: []View{offHeap(t, tensor.F32, n)}}
		ones := make([]float64, n)
		for i := range ones {
			ones[i] = 1
		}
		c.In[0].Store(ones)
		c.In[1].Store([]float64{seed, step, lane})
		run, err := Bind(c, false)
		require.NoError(t, err)
		run()
		return c.Out[0].Load()
	}
	first := mask(1<<40, 1, 0, 5)
	kept := 0.0
	for _, y := range first {
		if y != 0 {
			require.InDelta(t, 1/(1-p), y, 1e-6)
			kept++
		}
	}
	require.InDelta(t, 1-p, kept/n, 5*math.Sqrt(p*(1-p)/n))
	for _, other := range [][]float64{mask(1<<41, 1, 0, 5), mask(1<<40, 2, 0, 5), mask(1<<40, 1, 1, 5), mask(1<<40, 1, 0, 6)} {
		same := 0.0
		for i := range other {
			if (other[i] == 0) == (first[i] == 0) {
				same++
			}
		}
		agree := p*p + (1-p)*(1-p) // of independent masks
		require.InDelta(t, agree, same/n, 5*math.Sqrt(agree*(1-agree)/n))
	}
}
