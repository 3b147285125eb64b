package kernels

import (
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"ringo/runtime/backend/backendtest"
	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

// runOp applies an op to tensors by the reference or the fast kernels.
func runOp(t testing.TB, op string, attrs any, reference bool, in ...*tensor.Tensor) []*tensor.Tensor {
	t.Helper()
	Init(0)
	feeds := map[*graph.Value]*tensor.Tensor{}
	var out []*graph.Value
	g, err := graph.Build(func(g *graph.Graph) {
		var args []*graph.Value
		for i, x := range in {
			v := g.Input(fmt.Sprint("x", i), x.DType, x.Shape...)
			feeds[v] = x
			args = append(args, v)
		}
		out = g.ApplyN(op, attrs, args...)
	})
	require.NoError(t, err)
	vals, err := Eval(g, feeds, reference)
	require.NoError(t, err)
	var res []*tensor.Tensor
	for _, v := range out {
		res = append(res, vals[v])
	}
	return res
}

// TestLargeParity runs shapes that are cut into several parallel tasks, which the rows' samples are too small for.
func TestLargeParity(t *testing.T) {
	f := graph.In
	cases := []struct {
		op    string
		attrs any
		in    []graph.SampleIn
	}{
		{"exp", nil, []graph.SampleIn{f(50_001)}},
		{"copy", nil, []graph.SampleIn{f(300_001)}},
		{"cast", graph.Cast{To: tensor.BF16}, []graph.SampleIn{f(50_001)}},
		{"swiglu", nil, []graph.SampleIn{f(67, 2*331)}},
		{"swiglu_grad", nil, []graph.SampleIn{f(67, 2*331), f(67, 331)}},
		{"add", nil, []graph.SampleIn{f(300, 129), f(129)}},
		{"mul", nil, []graph.SampleIn{f(300, 129), f(300, 1)}},
		{"sub", nil, []graph.SampleIn{f(7, 1, 70, 33), f(1, 5, 1, 33)}},
		{"where", nil, []graph.SampleIn{{Shape: tensor.Shape{129, 129}, DType: tensor.Bool}, f(3, 129, 129), f()}},
		{"lt", nil, []graph.SampleIn{f(200, 129), f(129)}},
		{"sum", graph.Reduce{}, []graph.SampleIn{f(100_003)}},
		{"mean", graph.Reduce{Axes: []int{0}}, []graph.SampleIn{f(1000, 99)}},
		{"sum", graph.Reduce{Axes: []int{0}}, []graph.SampleIn{f(40_000, 3)}},
		{"sum", graph.Reduce{Axes: []int{1}}, []graph.SampleIn{f(3, 30_000, 2)}},
		{"sum", graph.Reduce{Axes: []int{0, 2}}, []graph.SampleIn{f(9, 7, 40_000)}},
		{"max", graph.Reduce{Axes: []int{-1}}, []graph.SampleIn{f(500, 77)}},
		{"min", graph.Reduce{Axes: []int{0}}, []graph.SampleIn{f(500, 77)}},
		{"argmax", graph.ArgMax{Axis: -1}, []graph.SampleIn{f(70, 501)}},
		{"topk", graph.TopK{K: 9, Axis: -1}, []graph.SampleIn{f(70, 501)}},
		{"transpose", graph.Transpose{Perm: []int{1, 0}}, []graph.SampleIn{f(1500, 131)}},
		{"transpose", graph.Transpose{Perm: []int{1, 0}}, []graph.SampleIn{f(3, 20_001)}},
		{"transpose", graph.Transpose{Perm: []int{0, 2, 1, 3}}, []graph.SampleIn{f(4, 65, 5, 33)}},
		{"transpose", graph.Transpose{Perm: []int{3, 1, 0, 2}}, []graph.SampleIn{f(6, 17, 9, 70)}},
		{"slice", graph.Slice{Start: []int{199, 2}, End: []int{-1, 301}, Step: []int{-1, 2}}, []graph.SampleIn{f(200, 301)}},
		{"broadcast", graph.Broadcast{Shape: tensor.Shape{300, 131}}, []graph.SampleIn{f(300, 1)}},
		{"concat", graph.Concat{Axis: 1}, []graph.SampleIn{f(900, 40), f(900, 123)}},
		{"concat", graph.Concat{Axis: 0}, []graph.SampleIn{f(150_000), f(170_001)}},
		{"pad", graph.Pad{Before: []int{0, 1, 1}, After: []int{0, 1, 1}}, []graph.SampleIn{f(90, 33, 33)}},
		{"gather", graph.Gather{Axis: 1}, []graph.SampleIn{f(30, 50, 40), graph.InIndex(50, 70)}},
		{"embedding", nil, []graph.SampleIn{f(500, 96), graph.InIndex(500, 40, 50)}},
		{"embedding_grad", graph.EmbeddingGrad{V: 65}, []graph.SampleIn{f(3000, 96), graph.InIndex(65, 3000)}},
		{"embedding_grad", graph.EmbeddingGrad{V: 50001}, []graph.SampleIn{f(300, 97), graph.InIndex(50001, 300)}},
	}
	for i, c := range cases {
		t.Run(fmt.Sprint(i, c.op), func(t *testing.T) {
			var in []*tensor.Tensor
			for k, s := range c.in {
				in = append(in, backendtest.Fill(s, tensor.F32, uint64(k)))
			}
			want, got := runOp(t, c.op, c.attrs, true, in...), runOp(t, c.op, c.attrs, false, in...)
			for k := range want {
				w, g := want[k], got[k]
				backendtest.Compare(t, w, g, 2e-6, c.op)
			}
		})
	}
}

// TestElementaryFunctions holds the single-precision functions of rg_math.h, as the kernels run them, against
// float64 over dense ranges. Bounds are a few units of 2⁻²⁴ ≈ 6e-8: relative where the function has no zero but
// the one at 0, relative to max(1,|y|) elsewhere.
func TestElementaryFunctions(t *testing.T) {
	t.Parallel()
	const n = 200_000
	for _, c := range []struct {
		op       string
		attrs    any
		lo, hi   float64
		tol      float64
		absolute bool
	}{
		{"exp", nil, -87, 88, 3e-7, false},
		{"log", nil, 1e-30, 0.99, 3e-7, false},
		{"log", nil, 1.01, 1e30, 2e-7, false},
		{"tanh", nil, -10, 10, 2e-7, false},
		{"tanh", nil, -1e-3, 1e-3, 2e-7, false},
		{"erf", nil, -6, 6, 2e-7, false},
		{"erf", nil, -1e-3, 1e-3, 2e-7, false},
		{"sigmoid", nil, -80, 30, 4e-7, false},
		{"softplus", nil, -80, 30, 4e-7, false},
		{"silu", nil, -80, 30, 4e-7, false},
		{"gelu", graph.Gelu{Tanh: true}, -8, 10, 3e-7, true},
		{"gelu", graph.Gelu{}, -6, 10, 2e-6, false}, // e^(−x²/2) carries the rounding of x²/2 ≤ 18
		{"rsqrt", nil, 1e-6, 9, 3e-7, false},
	} {
		x := tensor.New(tensor.F32, n)
		for i := range n {
			tensor.Data[float32](x)[i] = float32(c.lo + (c.hi-c.lo)*float64(i)/(n-1))
		}
		want, got := runOp(t, c.op, c.attrs, true, widened(x))[0].Float64s(), runOp(t, c.op, c.attrs, false, x)[0].Float64s()
		for i := range want {
			scale := math.Abs(want[i])
			if c.absolute {
				scale = max(scale, 1)
			}
			if math.Abs(got[i]-want[i]) > c.tol*scale {
				require.Failf(t, "inexact", "%s(%g) = %g, expected %g", c.op, x.Float64s()[i], got[i], want[i])
			}
		}
	}
}

// widened is x in float64.
func widened(x *tensor.Tensor) *tensor.Tensor {
	return tensor.Of(x.Shape, x.Float64s()...)
}

func TestSpecialValues(t *testing.T) {
	t.Parallel()
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	x := tensor.Of(tensor.Shape{7}, 0, -1, inf, -inf, nan, 1e-40, 200)
	for _, op := range []string{"exp", "log", "tanh", "erf", "sigmoid", "relu", "silu", "gelu", "sqrt", "abs", "sign", "floor", "round"} {
		want, got := runOp(t, op, nil, true, x)[0].Float64s(), runOp(t, op, nil, false, x)[0].Float64s()
		for i := range want {
			if op == "silu" && i == 3 {
				continue // −∞·0: NaN in the reference, −∞ here, as e^∞ saturates
			}
			if want[i] != want[i] {
				require.True(t, math.IsNaN(got[i]), "%s of %g is %g", op, x.Float64s()[i], got[i])
			} else if !math.IsInf(want[i], 0) {
				require.InDelta(t, want[i], got[i], 1e-5*max(1, math.Abs(want[i])), "%s of %g", op, x.Float64s()[i])
			} else {
				require.Equal(t, want[i], got[i], "%s of %g", op, x.Float64s()[i])
			}
		}
	}
	for _, op := range []string{"max", "min", "sum"} {
		require.True(t, math.IsNaN(runOp(t, op, graph.Reduce{}, false, x)[0].Float64s()[0]), "%s drops NaN", op)
	}
}

// TestWideIntegers keeps numbers that float64 cannot hold.
func TestWideIntegers(t *testing.T) {
	t.Parallel()
	const big = int64(1)<<53 + 1
	s := tensor.Shape{2}
	a, b := tensor.Of(s, big, -big), tensor.Of(s, int64(2), 2)
	ints := func(op string, attrs any, in ...*tensor.Tensor) []int64 {
		return tensor.Data[int64](runOp(t, op, attrs, false, in...)[0])
	}
	require.Equal(t, []int64{big + 2, -big + 2}, ints("add", nil, a, b))
	require.Equal(t, []int64{big * 2, -big * 2}, ints("mul", nil, a, b))
	require.Equal(t, []int64{big / 2, -big / 2}, ints("div", nil, a, b))
	require.Equal(t, []int64{big}, ints("max", graph.Reduce{Keep: true}, a))
	require.Equal(t, []int64{-big, big}, ints("slice", graph.Slice{Start: []int{1}, End: []int{-1}, Step: []int{-1}}, a))
	require.Equal(t, []int64{big, 2}, ints("where", nil, boolOf(1, 0), a, b))
	require.Equal(t, []byte{0, 1}, runOp(t, "eq", nil, false, a, tensor.Of(s, big-1, -big))[0].Bytes())
	wrapped := runOp(t, "cast", graph.Cast{To: tensor.I8}, false, tensor.Of(s, int64(300), -129))[0]
	require.Equal(t, []int8{44, 127}, tensor.Data[int8](wrapped))
	limited := runOp(t, "cast", graph.Cast{To: tensor.I32}, false, tensor.Of(s, 1e20, -2.9))[0]
	require.Equal(t, []int32{math.MaxInt32, -2}, tensor.Data[int32](limited))
}

func boolOf(v ...byte) *tensor.Tensor {
	t := tensor.New(tensor.Bool, len(v))
	copy(t.Bytes(), v)
	return t
}

// TestEmptyReductions: the neutral element, as ONNX has it.
func TestEmptyReductions(t *testing.T) {
	t.Parallel()
	x := tensor.New(tensor.F32, 2, 0, 3)
	for op, want := range map[string]float64{"sum": 0, "prod": 1, "max": math.Inf(-1), "min": math.Inf(1)} {
		for _, v := range runOp(t, op, graph.Reduce{Axes: []int{1}}, false, x)[0].Float64s() {
			require.Equal(t, want, v, op)
		}
	}
}

// TestBadIndices: an id outside the table reads NaN and is not written.
func TestBadIndices(t *testing.T) {
	t.Parallel()
	table, ids := backendtest.Fill(graph.In(5, 3), tensor.F32, 1), tensor.Of(tensor.Shape{3}, int32(4), 5, -1)
	for _, reference := range []bool{true, false} {
		y := runOp(t, "embedding", nil, reference, table, ids)[0].Float64s()
		require.False(t, math.IsNaN(y[0]))
		require.True(t, math.IsNaN(y[3]) && math.IsNaN(y[8]))
		d := runOp(t, "embedding_grad", graph.EmbeddingGrad{V: 5}, reference, backendtest.Fill(graph.In(3, 3), tensor.F32, 1), ids)[0].Float64s()
		require.Equal(t, make([]float64, 12), d[:12])
	}
}
