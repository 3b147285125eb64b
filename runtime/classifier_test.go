package runtime_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"ringo/runtime"
	"ringo/runtime/backend"
	"ringo/runtime/graph"
	"ringo/runtime/plan"
	"ringo/runtime/tensor"
)

// Rows of all lanes, width and classes of the classifier that is computed in chunks. 16 numbers are 64 bytes: chunks of any rows start
// where tensors may.
const chunkedRows, chunkedWidth, chunkedClasses = 24, 16, 37

// chunked is a kind of classifier behind an embedding and a norm.
type chunked struct {
	tied, bias bool
	loss       graph.CrossEntropy
}

func (c chunked) build(rows int) func(g *graph.Graph) {
	return func(g *graph.Graph) {
		p := func(name string, shape ...int) *graph.Value {
			return g.Param(graph.Leaf{Name: name, Type: graph.Type{DType: tensor.F32, Shape: shape}, Init: graph.Normal(0.3)})
		}
		x, y := g.Input("x", tensor.I32, 2, rows/2), g.Input("y", tensor.I32, 2, rows/2)
		table := p("table", chunkedClasses, chunkedWidth)
		h := g.Gelu(g.Linear(g.Embedding(table, x), p("fc", chunkedWidth, chunkedWidth), nil), true)
		h = g.LayerNorm(h, p("ln.weight", chunkedWidth), p("ln.bias", chunkedWidth), 1e-5)
		var bias *graph.Value
		if c.bias {
			bias = p("bias", chunkedClasses)
		}
		logits := g.LinearT
		weight := table
		if !c.tied {
			logits, weight = g.Linear, p("head", chunkedWidth, chunkedClasses)
		}
		g.Output("loss", g.CrossEntropy(logits(h, weight, bias), y, c.loss))
	}
}

// train returns the losses of three steps, the weights behind them, and the program.
func (c chunked) train(t *testing.T, threads int, opt plan.Options) (losses, weights []float32, p *plan.Program) {
	t.Helper()
	b, err := backend.Open("cpu", backend.Options{Threads: threads})
	require.NoError(t, err)
	st := b.NewStore()
	defer st.Close()
	rows := chunkedRows / opt.Training.Lanes
	e, err := runtime.Compile(b, st, c.build(rows), opt)
	require.NoError(t, err)
	defer e.Close()
	p = e.Program()
	require.NoError(t, runtime.Init(st, p, 5))
	s, err := runtime.NewStep(e)
	require.NoError(t, err)
	tokens := tensor.New(tensor.I32, chunkedRows)
	for i := range tensor.Data[int32](tokens) {
		tensor.Data[int32](tokens)[i] = int32(i * 7 % chunkedClasses)
	}
	for range 3 {
		require.NoError(t, s.Begin(0.1, 1, 1))
		require.NoError(t, s.Lanes(0, opt.Training.Lanes, func(lane int) error {
			part := tokens.Bytes()[lane*rows*4:][:rows*4]
			if err := e.Feed("x", part); err != nil {
				return err
			}
			return e.Feed("y", part)
		}, nil))
		require.NoError(t, s.Update())
		loss, err := s.Mean("loss")
		require.NoError(t, err)
		losses = append(losses, loss)
	}
	for _, x := range p.Tensors {
		if x.Kind == "param" {
			w := tensor.New(tensor.F32, x.Type.Shape...)
			require.NoError(t, st.Read(x.Name, w.Bytes()))
			weights = append(weights, tensor.Data[float32](w)...)
		}
	}
	return losses, weights, p
}

// sgd moves by the gradient alone: weights show how it differs.
func sgd(graph.Leaf) plan.Update {
	return plan.Update{Op: "sgd", Attrs: graph.SGD{}, Slots: []string{"momentum"}}
}

// A classifier in 2, or 3 chunks of which the last is shorter, trains as in one: tied to the embedding or not, with a bias, with targets
// to ignore, which are not evenly spread over chunks, in lanes, clipped, and with what is computed again.
func TestClassifierInChunks(t *testing.T) {
	kinds := map[string]chunked{
		"tied":   {tied: true},
		"untied": {bias: true},
		"ignore": {tied: true, loss: graph.CrossEntropy{HasIgnore: true, Ignore: 7}},
		"smooth": {loss: graph.CrossEntropy{Smoothing: 0.1, HasIgnore: true, Ignore: 14}},
	}
	for name, c := range kinds {
		for _, o := range []plan.Options{
			{Training: &plan.Training{Lanes: 1}},
			{Training: &plan.Training{Lanes: 1}, Recompute: plan.RecomputeNorm},
			{Training: &plan.Training{Lanes: 1, Clip: 0.1}},
			{Training: &plan.Training{Lanes: 2, Clip: 0.1}},
			{Training: &plan.Training{Lanes: 2}, Disable: []string{"in-place", "reuse-memory"}},
		} {
			o.Training.Rule = sgd
			t.Run(fmt.Sprintf("%s lanes %d clip %g recompute %q", name, o.Training.Lanes, o.Training.Clip, o.Recompute), func(t *testing.T) {
				wantLoss, wantWeights, p := c.train(t, 1, o)
				require.Equal(t, 1, losses1(p))
				rows := chunkedRows / o.Training.Lanes
				for _, each := range []int{rows / 2, rows/2 - 1} {
					o.ClassifierRows = each
					loss, weights, p := c.train(t, 1, o)
					require.Equal(t, (rows+each-1)/each, losses1(p))
					require.InDeltaSlice(t, wantLoss, loss, 1e-6*float64(wantLoss[0]), "%d rows", each)
					require.InDeltaSlice(t, wantWeights, weights, 1e-6, "%d rows", each)
					again, bits, _ := c.train(t, 3, o)
					require.Equal(t, loss, again, "3 threads")
					require.Equal(t, weights, bits, "3 threads")
				}
			})
		}
	}
}

// losses1 counts the instructions that compute a loss, and expects no copy of rows.
func losses1(p *plan.Program) (n int) {
	for _, in := range p.Instrs {
		if in.Op.Name == "cross_entropy_fused" {
			n++
		}
	}
	return n
}

// An evaluation has its losses in chunks as well; all that they have in common is how many targets count.
func TestEvaluationInChunks(t *testing.T) {
	b, err := backend.Open("cpu", backend.Options{})
	require.NoError(t, err)
	c := chunked{bias: true, loss: graph.CrossEntropy{HasIgnore: true, Ignore: 3}}
	var want float32
	for _, each := range []int{0, 12, 7} {
		st := b.NewStore()
		defer st.Close()
		e, err := runtime.Compile(b, st, c.build(chunkedRows), plan.Options{ClassifierRows: each})
		require.NoError(t, err)
		defer e.Close()
		require.NoError(t, runtime.Init(st, e.Program(), 5))
		x := tensor.New(tensor.I32, chunkedRows)
		require.NoError(t, e.Feed("x", x.Bytes()))
		for i := range tensor.Data[int32](x) {
			tensor.Data[int32](x)[i] = int32(max(3, i-10)) // half of them are ignored, all those of the first chunk
		}
		require.NoError(t, e.Feed("y", x.Bytes()))
		require.NoError(t, e.Run(0, len(e.Program().Instrs)))
		loss := tensor.New(tensor.F32)
		require.NoError(t, e.Fetch("loss", loss.Bytes()))
		got := tensor.Data[float32](loss)[0]
		if each == 0 {
			want = got
		}
		require.InEpsilon(t, want, got, 1e-6, "%d rows", each)
		largest := slices.MaxFunc(e.Program().Buffers, func(a, b plan.Buffer) int { return int(a.Bytes - b.Bytes) })
		if each > 0 {
			require.LessOrEqual(t, int(largest.Bytes), max(each*chunkedClasses, chunkedClasses*chunkedWidth, chunkedRows*chunkedWidth)*4)
		}
	}
}
