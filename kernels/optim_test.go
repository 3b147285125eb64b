package kernels

import (
	"fmt"
	"math"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

// stepper is one optimizer written for a single number, in float64, straight from its paper or from PyTorch.
type stepper struct {
	op     string
	attrs  any
	states int // param, grad and the optimizer's own
	step   func(p, g, lr float64, t int, s *[2]float64) float64
}

const lr, beta1, beta2, decay = 0.01, 0.9, 0.999, 0.1

var steppers = []stepper{
	{"adamw", graph.AdamW{Beta1: beta1, Beta2: beta2, Eps: 1e-8, WeightDecay: decay}, 4,
		// torch.optim.AdamW's documentation, line by line
		func(p, g, lr float64, t int, s *[2]float64) float64 {
			p -= lr * decay * p
			s[0] = beta1*s[0] + (1-beta1)*g
			s[1] = beta2*s[1] + (1-beta2)*g*g
			mHat := s[0] / (1 - math.Pow(beta1, float64(t)))
			vHat := s[1] / (1 - math.Pow(beta2, float64(t)))
			return p - lr*mHat/(math.Sqrt(vHat)+1e-8)
		}},
	{"sgd", graph.SGD{Momentum: 0.9, WeightDecay: decay}, 3,
		func(p, g, lr float64, t int, s *[2]float64) float64 {
			g += decay * p
			s[0] = 0.9*s[0] + g
			return p - lr*s[0]
		}},
	{"sgd", graph.SGD{Momentum: 0.9, Nesterov: true}, 3,
		func(p, g, lr float64, t int, s *[2]float64) float64 {
			s[0] = 0.9*s[0] + g
			return p - lr*(g+0.9*s[0])
		}},
	{"sgd", graph.SGD{}, 3,
		func(p, g, lr float64, t int, s *[2]float64) float64 { return p - lr*g }},
	{"lion", graph.Lion{Beta1: 0.9, Beta2: 0.99, WeightDecay: decay}, 3,
		// Chen et al., 2023, algorithm 2
		func(p, g, lr float64, t int, s *[2]float64) float64 {
			c := 0.9*s[0] + 0.1*g
			update := 0.0
			if c > 0 {
				update = 1
			} else if c < 0 {
				update = -1
			}
			s[0] = 0.99*s[0] + 0.01*g
			return p - lr*(update+decay*p)
		}},
}

// TestOptimizersFollowTheirFormula walks down f(p) = ½·p² − target·p for twenty steps. Gradients arrive four times too
// large, as sums over four lanes do, and clipped to half.
func TestOptimizersFollowTheirFormula(t *testing.T) {
	t.Parallel()
	const n, steps, lanes, clip = 37, 20, 4, 0.5
	for i, s := range steppers {
		for _, reference := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s%d/reference=%v", s.op, i, reference), func(t *testing.T) {
				t.Parallel()
				c := &Call{Op: s.op, Attrs: s.attrs}
				for range s.states {
					c.In = append(c.In, offHeap(t, tensor.F32, n))
				}
				hyper, norm := offHeap(t, tensor.F32, graph.HyperLen), offHeap(t, tensor.F32, 2)
				norm.Store([]float64{1, clip})
				c.In = append(c.In, hyper, norm)
				c.Out = append([]View{c.In[0]}, c.In[2:s.states]...)
				run, err := Bind(c, reference)
				require.NoError(t, err)

				want, grads, states := make([]float64, n), make([]float64, n), make([][2]float64, n)
				for step := 1; step <= steps; step++ {
					for k := range want {
						g := want[k] - math.Sin(float64(7*k+1))
						grads[k] = g * lanes / clip
						want[k] = s.step(want[k], g, lr, step, &states[k])
					}
					c.In[1].Store(grads)
					hyper.Store([]float64{lr, 1.0 / lanes, 1 - math.Pow(beta1, float64(step)), 1 - math.Pow(beta2, float64(step)), 0, 0, 0, 0})
					run()
				}
				require.InDeltaSlice(t, want, c.In[0].Load(), 1e-6, "float32 rounds 20 additions of at most 0.01 each to numbers below 1")
			})
		}
	}
}

// offHeap returns zeroed memory that C may keep until the test ends.
func offHeap(t *testing.T, d tensor.DType, shape ...int) View {
	t.Helper()
	x := newOffHeap(graph.Type{DType: d, Shape: shape})
	t.Cleanup(func() { runtime.KeepAlive(x) })
	return View{graph.Type{DType: d, Shape: shape}, x.Bytes()}
}

// TestMuonOrthogonalises demands that the update's singular values lie in [0.6, 1.3]: Jordan (2024) gives about
// [0.7, 1.2] for the five steps, whatever those of the gradient were. Their squares are the eigenvalues of X·Xᵀ,
// bounded here by random vectors: 0.6 ≤ ‖Xᵀ·v‖/‖v‖ ≤ 1.3.
func TestMuonOrthogonalises(t *testing.T) {
	t.Parallel()
	for _, shape := range [][2]int{{16, 40}, {40, 16}} {
		rows, cols := shape[0], shape[1]
		p := tensor.NewPhilox(3, 4)
		u := make([]float32, rows*cols)
		p.FillNormal(u, 0, 1)
		grad := make([]float64, len(u))
		for i, v := range u {
			grad[i] = float64(v)
		}
		c := &Call{Op: "muon", Attrs: graph.Muon{Transposed: true}}
		for range 3 {
			c.In = append(c.In, offHeap(t, tensor.F32, rows, cols))
		}
		hyper := offHeap(t, tensor.F32, graph.HyperLen)
		hyper.Store([]float64{1, 1, 1, 1, 0, 0, 0, 0})
		c.In[1].Store(grad)
		c.In = append(c.In, hyper)
		c.Out = []View{c.In[0], c.In[2]}
		run, err := Bind(c, false)
		require.NoError(t, err)
		run()
		x := c.In[0].Load()
		scale := muonScale(graph.Muon{Transposed: true}, rows, cols)
		if rows > cols {
			x = transpose2(x, rows, cols)
			rows, cols = cols, rows
		}
		for trial := range 20 {
			v := make([]float32, rows)
			q := tensor.NewPhilox(5, uint64(trial))
			q.FillNormal(v, 0, 1)
			var vv, xx float64
			for j := range cols {
				var dot float64
				for i := range rows {
					dot += float64(v[i]) * x[i*cols+j] / scale
				}
				xx += dot * dot
			}
			for i := range rows {
				vv += float64(v[i]) * float64(v[i])
			}
			require.InDelta(t, 0.95, math.Sqrt(xx/vv), 0.35)
		}
	}
}

// TestGradNormOfZeroAndNaN: a zero gradient is not divided by, and a NaN is not hidden.
func TestGradNormOfZeroAndNaN(t *testing.T) {
	t.Parallel()
	for _, reference := range []bool{true, false} {
		c := &Call{Op: "grad_norm", Attrs: graph.GradNorm{Max: 1}, In: []View{offHeap(t, tensor.F32, 5), offHeap(t, tensor.F32, graph.HyperLen)}, Out: []View{offHeap(t, tensor.F32, 2)}}
		c.In[1].Store([]float64{0, 0.5, 0, 0, 0, 0, 0, 0})
		run, err := Bind(c, reference)
		require.NoError(t, err)
		run()
		require.Equal(t, []float64{0, 1}, c.Out[0].Load())
		c.In[0].Store([]float64{3, 0, 4, 0, 0})
		run()
		require.InDeltaSlice(t, []float64{2.5, 0.4}, c.Out[0].Load(), 1e-7)
		c.In[0].Store([]float64{3, math.NaN(), 4, 0, 0})
		run()
		require.True(t, math.IsNaN(c.Out[0].Load()[0]))
	}
}
