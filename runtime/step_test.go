package runtime_test

import (
	"fmt"
	"io"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	_ "ringo/kernels"
	"ringo/runtime"
	"ringo/runtime/backend"
	"ringo/runtime/graph"
	"ringo/runtime/plan"
	"ringo/runtime/tensor"
)

// network is a small two-layer classifier with a residual and a norm: every fusion has something to do.
func network(batch, hidden int) func(g *graph.Graph) {
	return func(g *graph.Graph) {
		x := g.Input("x", tensor.F32, batch, 24)
		y := g.Input("y", tensor.I32, batch)
		p := func(name string, std float64, shape ...int) *graph.Value {
			return g.Param(graph.Leaf{Name: name, Type: graph.Type{DType: tensor.F32, Shape: shape}, Init: graph.Normal(std), NoDecay: len(shape) == 1})
		}
		h := g.LayerNorm(x, p("ln.weight", 1, 24), p("ln.bias", 0.1, 24), 1e-5)
		h = g.Gelu(g.Linear(h, p("fc.weight", 0.2, 24, hidden), p("fc.bias", 0.1, hidden)), true)
		h = g.Add(x, g.Linear(h, p("proj.weight", 8/float64(hidden), hidden, 24), p("proj.bias", 0.1, 24)))
		h = g.Relu(g.Linear(h, p("mid.weight", 0.2, 24, 24), nil))
		g.Output("loss", g.CrossEntropy(g.Linear(h, p("head.weight", 0.2, 24, 7), nil), y, graph.CrossEntropy{}))
	}
}

func adamw(p graph.Leaf) plan.Update {
	wd := 0.1
	if p.NoDecay {
		wd = 0
	}
	return plan.Update{Op: "adamw", Attrs: graph.AdamW{Beta1: 0.9, Beta2: 0.99, Eps: 1e-8, WeightDecay: wd}, Slots: []string{"m", "v"}}
}

// losses trains the network for some steps and returns loss and weights' bits.
func losses(t *testing.T, o backend.Options, lanes int, train plan.Training, disable ...string) ([]float32, []byte) {
	t.Helper()
	return lossesReady(t, o, lanes, 40, train, nil, disable...)
}

// lossesReady is losses with a function that is given the buckets of the gradient.
func lossesReady(t *testing.T, o backend.Options, lanes, hidden int, train plan.Training, ready func(backend.Gradient, plan.Bucket) error, disable ...string) ([]float32, []byte) {
	t.Helper()
	const batch = 16
	b, err := backend.Open("cpu", o)
	require.NoError(t, err)
	st := b.NewStore()
	defer st.Close()
	train.Lanes, train.Rule = lanes, adamw
	e, err := runtime.Compile(b, st, network(batch/lanes, hidden), plan.Options{Training: &train, Disable: disable})
	require.NoError(t, err)
	defer e.Close()
	require.NoError(t, runtime.Init(st, e.Program(), 5))
	s, err := runtime.NewStep(e)
	require.NoError(t, err)
	x, y := tensor.New(tensor.F32, batch, 24), tensor.New(tensor.I32, batch)
	rng := tensor.NewPhilox(1, 1)
	rng.FillNormal(tensor.Data[float32](x), 0, 1)
	for i, v := range rng.Perm(batch) {
		tensor.Data[int32](y)[i] = v % 7
	}
	feed := func(lane int) error {
		rows := batch / lanes
		if err := e.Feed("x", x.Bytes()[lane*rows*24*4:(lane+1)*rows*24*4]); err != nil {
			return err
		}
		return e.Feed("y", y.Bytes()[lane*rows*4:(lane+1)*rows*4])
	}
	var out []float32
	var give func(plan.Bucket) error
	if ready != nil {
		give = func(b plan.Bucket) error { return ready(e.Gradient(), b) }
	}
	b1, b2 := 1.0, 1.0
	for range 8 {
		b1, b2 = b1*0.9, b2*0.99
		require.NoError(t, s.Begin(1e-2, 1-b1, 1-b2))
		require.NoError(t, s.Lanes(0, lanes, feed, give))
		require.NoError(t, s.Update())
		l, err := s.Mean("loss")
		require.NoError(t, err)
		out = append(out, l)
	}
	var weights []byte
	for _, tr := range e.Program().Tensors {
		if tr.Kind == "param" {
			raw := make([]byte, tr.Type.Bytes())
			require.NoError(t, st.Read(tr.Name, raw))
			weights = append(weights, raw...)
		}
	}
	return out, weights
}

func near(t *testing.T, want, got []float32, tol float64) {
	t.Helper()
	for i := range want {
		require.InEpsilon(t, want[i], got[i], tol, "step %d: %v against %v", i, got, want)
	}
}

// TestPassesKeepLosses: the fast kernels with every pass on, each optional pass off in turn, all off, and
// the plain reference agree.
func TestPassesKeepLosses(t *testing.T) {
	want, _ := losses(t, backend.Options{Reference: true}, 1, plan.Training{}, plan.PassNames()...)
	require.Less(t, want[7], want[0]*0.7, "it learns: %v", want)
	all, _ := losses(t, backend.Options{}, 1, plan.Training{})
	near(t, want, all, 1e-5)
	for _, p := range plan.PassNames() {
		got, _ := losses(t, backend.Options{}, 1, plan.Training{}, p)
		near(t, all, got, 1e-6)
	}
	none, _ := losses(t, backend.Options{}, 1, plan.Training{}, plan.PassNames()...)
	near(t, all, none, 1e-6)
}

// TestUpdateForms: updating eagerly, in groups after all lanes, with a norm that does not clip, and over
// several lanes gives the same trajectory.
func TestUpdateForms(t *testing.T) {
	want, _ := losses(t, backend.Options{}, 1, plan.Training{})
	for name, train := range map[string]plan.Training{"shared": {Shared: true}, "norm": {Norm: true}, "clip": {Clip: 1e9}, "ema": {EMA: 0.9}} {
		got, _ := losses(t, backend.Options{}, 1, train)
		near(t, want, got, 1e-6)
		lanes, _ := losses(t, backend.Options{}, 4, train)
		near(t, want, lanes, 1e-5)
		_ = name
	}
	a, wa := losses(t, backend.Options{}, 8, plan.Training{Clip: 1})
	b, wb := losses(t, backend.Options{}, 8, plan.Training{Clip: 1})
	require.Equal(t, a, b)
	require.Equal(t, wa, wb, "the same run twice gives the same bits")
}

// TestBuckets: what is given away bucket by bucket is the whole sum, while the lane phase goes on: taking it out and
// putting it back afterwards changes no bit.
func TestBuckets(t *testing.T) {
	for _, lanes := range []int{1, 4} {
		const hidden = 12000 // more than one bucket
		want, ww := lossesReady(t, backend.Options{}, lanes, hidden, plan.Training{Clip: 1, Shared: true}, nil)
		var taken []float32
		left, given := 0, 0
		got, wg := lossesReady(t, backend.Options{}, lanes, hidden, plan.Training{Clip: 1, Shared: true}, func(g backend.Gradient, b plan.Bucket) error {
			if left == 0 {
				taken, left = make([]float32, g.Len()), g.Len()
			}
			given++
			from, to := int(b.Offset/4), int((b.Offset+b.Bytes)/4)
			host, err := g.Host(from, to)
			require.NoError(t, err)
			copy(taken[from:to], host)
			for i := range host {
				host[i] = float32(math.NaN())
			}
			if left -= to - from; left > 0 {
				return nil
			}
			all, err := g.Host(0, g.Len())
			require.NoError(t, err)
			copy(all, taken)
			return g.Commit(0, g.Len())
		})
		require.Greater(t, given, 8, "more than one bucket a step")
		require.Equal(t, want, got)
		require.Equal(t, ww, wg)
	}
}

func TestSubtrees(t *testing.T) {
	t.Parallel()
	require.Equal(t, [][2]int{{3, 4}, {4, 8}, {8, 10}}, runtime.Subtrees(3, 10))
	require.Equal(t, [][2]int{{0, 8}}, runtime.Subtrees(0, 8))
	require.Equal(t, [][2]int{{0, 2}, {2, 3}}, runtime.Subtrees(0, 3))
}

func TestShapeMismatchNamesTheOp(t *testing.T) {
	t.Parallel()
	_, err := graph.Build(func(g *graph.Graph) {
		g.Scope("h.0.attn.qkv", func() {
			g.MatMul(g.Input("x", tensor.F32, 64, 128), g.Input("w", tensor.F32, 64, 384), graph.MatMul{})
		})
	})
	require.EqualError(t, err, `matmul "h.0.attn.qkv": (64,128)×(64,384): inner dimensions 128 ≠ 64`)
}

// A step allocates nothing, on one lane or several.
func TestStepAllocatesNothing(t *testing.T) {
	b, err := backend.Open("cpu", backend.Options{})
	require.NoError(t, err)
	for _, lanes := range []int{1, 4} {
		st := b.NewStore()
		e, err := runtime.Compile(b, st, network(4, 40), plan.Options{Training: &plan.Training{Lanes: lanes, Rule: adamw, Clip: 1}})
		require.NoError(t, err)
		s, err := runtime.NewStep(e)
		require.NoError(t, err)
		feed := func(int) error { return nil }
		step := func() {
			if s.Begin(1e-3, 0.1, 0.01) != nil || s.Lanes(0, lanes, feed, nil) != nil || s.Update() != nil {
				t.Fail()
			}
		}
		step()
		require.Zero(t, testing.AllocsPerRun(20, step))
	}
}

func Example() {
	b, _ := backend.Open("cpu", backend.Options{})
	e, err := runtime.Compile(b, b.NewStore(), func(g *graph.Graph) {
		x := g.Input("x", tensor.F32, 3)
		g.Output("y", g.Mul(x, x))
	}, plan.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	y := tensor.New(tensor.F32, 3)
	_ = e.Feed("x", tensor.Of(tensor.Shape{3}, float32(1), 2, 3).Bytes())
	_ = e.Run(0, len(e.Program().Instrs))
	_ = e.Fetch("y", y.Bytes())
	plan.Explain(io.Discard, e.Program())
	fmt.Println(tensor.Data[float32](y))
	// Output: [1 4 9]
}
