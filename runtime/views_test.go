package runtime_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"ringo/kernels"
	"ringo/runtime"
	"ringo/runtime/backend"
	"ringo/runtime/graph"
	"ringo/runtime/plan"
	"ringo/runtime/tensor"
)

// rowsGraph draws a graph that cuts and joins rows of what it computes, one way and the other; every value is an output or not.
func rowsGraph(t *rapid.T) func(g *graph.Graph) {
	type step struct{ op, a, b, from, to int }
	columns := rapid.SampledFrom([]int{16, 32, 5}).Draw(t, "columns") // 64 bytes a row, 128, or 20
	var steps []step
	for range rapid.IntRange(3, 14).Draw(t, "steps") {
		n := func(what string) int { return rapid.IntRange(0, 1000).Draw(t, what) }
		steps = append(steps, step{n("op"), n("a"), n("b"), n("from"), n("to")})
	}
	out := rapid.Uint32().Draw(t, "outputs")
	return func(g *graph.Graph) {
		param := g.Param(graph.Leaf{Name: "w", Type: graph.Type{DType: tensor.F32, Shape: tensor.Shape{6, columns}}, Init: graph.Normal(1)})
		values := []*graph.Value{param, g.Input("x", tensor.F32, 4, columns)}
		for i, s := range steps {
			a, b := values[s.a%len(values)], values[s.b%len(values)]
			rows := a.Shape[0]
			var v *graph.Value
			switch from := s.from % rows; s.op % 6 {
			case 0, 1:
				v = g.SliceAxis(a, 0, from, from+1+s.to%(rows-from))
			case 2, 3:
				v = g.Concat(0, a, b)
			case 4:
				v = g.Relu(g.Reshape(g.Tanh(a), rows*columns))
				v = g.Reshape(v, rows, columns)
			default:
				v = g.Add(g.Neg(a), g.Sum(b, false))
			}
			if v.Shape[0] > 64 {
				v = a
			}
			values = append(values, v)
			if out>>i&1 == 1 {
				g.Output(fmt.Sprint("y", i), v)
			}
		}
		g.Output("last", g.Neg(values[len(values)-1]))
	}
}

// Rows that are read and written where they lie have the values of those that are copied: programs give the bits of the interpreter,
// which knows of no memory.
func TestRowsWhereTheyLie(t *testing.T) {
	b, err := backend.Open("cpu", backend.Options{})
	require.NoError(t, err)
	w, x := tensor.New(tensor.F32, 6, 32), tensor.New(tensor.F32, 4, 32)
	rng := tensor.NewPhilox(3, 1)
	rng.FillNormal(tensor.Data[float32](w), 0, 1)
	rng.FillNormal(tensor.Data[float32](x), 0, 1)
	rapid.Check(t, func(r *rapid.T) {
		build := rowsGraph(r)
		g, err := graph.Build(build)
		require.NoError(r, err)
		feeds := map[*graph.Value]*tensor.Tensor{}
		cut := func(v *graph.Value, of *tensor.Tensor) *tensor.Tensor {
			out, err := tensor.FromBytes(tensor.F32, v.Shape, of.Bytes()[:v.Bytes()])
			require.NoError(r, err)
			feeds[v] = out
			return out
		}
		cut(g.Params[0], w)
		cut(g.Inputs[0], x)
		want, err := kernels.Eval(g, feeds, false)
		require.NoError(r, err)

		st := b.NewStore()
		defer st.Close()
		off := rapid.SliceOfDistinct(rapid.SampledFrom([]string{"in-place", "reuse-memory", "simplify", "simplify-again"}), rapid.ID).Draw(r, "off")
		e, err := runtime.Compile(b, st, build, plan.Options{Disable: off})
		require.NoError(r, err)
		defer e.Close()
		require.NoError(r, st.Write("w", feeds[g.Params[0]].Bytes()))
		require.NoError(r, e.Feed("x", feeds[g.Inputs[0]].Bytes()))
		for range 2 { // what one run leaves behind is not seen by the next
			require.NoError(r, e.Run(0, len(e.Program().Instrs)))
		}
		for _, o := range g.Outputs {
			got := tensor.New(tensor.F32, o.Value.Shape...)
			require.NoError(r, e.Fetch(o.Name, got.Bytes()))
			require.Equal(r, want[o.Value].Bytes(), got.Bytes(), o.Name)
		}
	})
}
