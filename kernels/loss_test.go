package kernels

import (
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

// TestCrossEntropyCorners: targets out of range, ignored rows, masked and huge logits, in every form of the loss.
func TestCrossEntropyCorners(t *testing.T) {
	t.Parallel()
	inf, nan := math.Inf(1), math.NaN()
	const v = 5000 // more than one block
	row := func(at map[int]float64, rest float64) []float64 {
		x := make([]float64, v)
		for i := range x {
			x[i] = rest
		}
		for i, y := range at {
			x[i] = y
		}
		return x
	}
	for _, c := range []struct {
		name    string
		attrs   graph.CrossEntropy
		logits  [][]float64
		targets []float64
		want    float64
	}{
		{"uniform", graph.CrossEntropy{}, [][]float64{row(nil, 3)}, []float64{7}, math.Log(v)},
		{"huge", graph.CrossEntropy{}, [][]float64{row(map[int]float64{9: 30000}, -30000)}, []float64{9}, 0},
		{"masked block", graph.CrossEntropy{}, [][]float64{row(map[int]float64{4000: -200, 4001: -200}, -inf)}, []float64{4000}, math.Ln2},
		{"ignored", graph.CrossEntropy{Ignore: -100, HasIgnore: true}, [][]float64{row(nil, 1), row(nil, nan)}, []float64{0, -100}, math.Log(v)},
		{"all ignored", graph.CrossEntropy{Ignore: 2, HasIgnore: true}, [][]float64{row(nil, 1)}, []float64{2}, nan},
		{"too large", graph.CrossEntropy{}, [][]float64{row(nil, 1), row(nil, 1)}, []float64{v, 0}, nan},
		{"negative", graph.CrossEntropy{}, [][]float64{row(nil, 1)}, []float64{-1}, nan},
		{"smoothed", graph.CrossEntropy{Smoothing: 0.5}, [][]float64{row(map[int]float64{0: v}, 0)}, []float64{0}, v - 0.5*v - 0.5},
	} {
		for _, reference := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/reference=%v", c.name, reference), func(t *testing.T) {
				t.Parallel()
				n := len(c.targets)
				logits, targets := offHeap(t, tensor.F32, n, v), offHeap(t, tensor.I32, n)
				var flat []float64
				for _, r := range c.logits {
					flat = append(flat, r...)
				}
				logits.Store(flat)
				targets.Store(c.targets)
				c.attrs.Seed = 1
				forward := &Call{Op: "cross_entropy", Attrs: c.attrs, In: []View{logits, targets}, Out: []View{offHeap(t, tensor.F32), offHeap(t, tensor.F32, n)}}
				fused := &Call{Op: "cross_entropy_fused", Attrs: c.attrs, In: []View{logits, targets}, Out: []View{offHeap(t, tensor.F32), offHeap(t, tensor.F32, n, v)}}
				one := offHeap(t, tensor.F32)
				one.Store([]float64{1})
				grad := &Call{Op: "cross_entropy_grad", Attrs: c.attrs, In: []View{one, logits, targets, forward.Out[1]}, Out: []View{offHeap(t, tensor.F32, n, v)}}
				for _, call := range []*Call{forward, fused, grad} {
					run, err := Bind(call, reference)
					require.NoError(t, err)
					run()
				}
				for _, got := range []float64{forward.Out[0].Load()[0], fused.Out[0].Load()[0]} {
					if math.IsNaN(c.want) {
						require.True(t, math.IsNaN(got), "loss is %g, expected NaN", got)
					} else {
						require.InDelta(t, c.want, got, 1e-5*math.Max(1, math.Abs(c.want)))
					}
				}
				// Rows of a valid target sum to 0, ignored rows are 0, others NaN; and the two gradients agree.
				a, b := grad.Out[0].Load(), fused.Out[1].Load()
				for r, target := range c.targets {
					var sum float64
					for i := r * v; i < (r+1)*v; i++ {
						sum += a[i]
						require.True(t, math.Abs(a[i]-b[i]) < 1e-5 || a[i] != a[i] && b[i] != b[i], "element %d: %g and fused %g", i, a[i], b[i])
					}
					valid := target >= 0 && target < v || ignored(c.attrs, target)
					require.Equal(t, !valid, math.IsNaN(sum))
					if valid {
						require.InDelta(t, 0, sum, 1e-5)
					}
				}
			})
		}
	}
}

// TestSoftmaxMasked: −∞ means probability 0, in rows of any length.
func TestSoftmaxMasked(t *testing.T) {
	t.Parallel()
	for _, n := range []int{2, 19, 70} {
		x := make([]float64, n)
		for i := range x {
			x[i] = math.Inf(-1)
		}
		x[0], x[n-1] = 5, 5
		c := &Call{Op: "softmax", Attrs: graph.Softmax{Axis: -1}, In: []View{offHeap(t, tensor.F32, n)}, Out: []View{offHeap(t, tensor.F32, n)}}
		c.In[0].Store(x)
		run, err := Bind(c, false)
		require.NoError(t, err)
		run()
		for i, y := range c.Out[0].Load() {
			want := 0.0
			if i == 0 || i == n-1 {
				want = 0.5
			}
			require.InDelta(t, want, y, 1e-6)
		}
	}
}
