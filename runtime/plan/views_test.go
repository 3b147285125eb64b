package plan_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"ringo/runtime/graph"
	"ringo/runtime/plan"
	"ringo/runtime/tensor"
)

// count plans a graph and counts its instructions by op.
func count(t *testing.T, build func(g *graph.Graph)) map[string]int {
	t.Helper()
	g, err := graph.Build(build)
	require.NoError(t, err)
	p, err := plan.Compile(g, plan.Options{})
	require.NoError(t, err)
	return ops(p)
}

// Rows are read where they lie: of inputs always, of what is computed where the slices are half of it or more.
func TestSlicesOfRows(t *testing.T) {
	t.Parallel()
	slices := func(build func(g *graph.Graph, x *graph.Value) []*graph.Value) int {
		return count(t, func(g *graph.Graph) {
			for _, v := range build(g, g.Input("x", tensor.F32, 64, 16)) {
				g.Output("y"+v.Shape.String(), g.Sum(v, false))
			}
		})["slice"]
	}
	require.Zero(t, slices(func(g *graph.Graph, x *graph.Value) []*graph.Value {
		return []*graph.Value{g.SliceAxis(x, 0, 3, 5)}
	}))
	require.Zero(t, slices(func(g *graph.Graph, x *graph.Value) []*graph.Value {
		x = g.Exp(x)
		return []*graph.Value{g.SliceAxis(x, 0, 0, 20), g.SliceAxis(x, 0, 50, 62)}
	}))
	require.Equal(t, 1, slices(func(g *graph.Graph, x *graph.Value) []*graph.Value {
		return []*graph.Value{g.SliceAxis(g.Exp(x), 0, 0, 31)} // else all of it would stay for less than half
	}))
	require.Equal(t, 1, slices(func(g *graph.Graph, x *graph.Value) []*graph.Value {
		return []*graph.Value{g.SliceAxis(x, 1, 0, 8)}
	}), "no whole rows")
	require.Equal(t, 1, slices(func(g *graph.Graph, x *graph.Value) []*graph.Value {
		return []*graph.Value{g.SliceAxis(g.Reshape(x, 128, 8), 0, 1, 128)}
	}), "32 bytes behind where a tensor may start")
}

// Outputs, and what is cut from a cache that changes later, are copies.
func TestSlicesThatAreCopied(t *testing.T) {
	t.Parallel()
	require.Equal(t, 1, count(t, func(g *graph.Graph) {
		g.Output("y", g.SliceAxis(g.Exp(g.Input("x", tensor.F32, 64, 16)), 0, 0, 48))
	})["slice"])
	require.Equal(t, 1, count(t, func(g *graph.Graph) {
		cache := g.State("cache", tensor.F32, graph.Constant(0), 4, 8, 1, 16)
		before := g.SliceAxis(cache, 0, 0, 2)
		now := g.KVWrite(cache, g.Input("x", tensor.F32, 4, 1, 1, 16), g.Input("pos", tensor.I32))
		g.Output("y", g.Sum(before, false))
		g.Output("now", g.Sum(now, false))
	})["slice"])
}

// What is joined is computed in its place, but where that is not a tensor's start, or something else is computed there already.
func TestJoinedRows(t *testing.T) {
	t.Parallel()
	joins := func(build func(g *graph.Graph, x *graph.Value) *graph.Value) int {
		return count(t, func(g *graph.Graph) { g.Output("y", g.Neg(build(g, g.Input("x", tensor.F32, 4, 16)))) })["concat"]
	}
	require.Zero(t, joins(func(g *graph.Graph, x *graph.Value) *graph.Value {
		return g.Concat(0, g.Exp(x), g.Concat(0, g.Tanh(x), g.Relu(x)))
	}))
	require.Equal(t, map[string]int{"exp": 1, "slice": 1, "neg": 1}, count(t, func(g *graph.Graph) {
		y := g.Exp(g.Input("x", tensor.F32, 4, 16))
		g.Output("y", g.Neg(g.Concat(0, y, g.SliceAxis(y, 0, 0, 1))))
	}), "a copied slice, in its place")
	require.Equal(t, 1, joins(func(g *graph.Graph, x *graph.Value) *graph.Value { return g.Concat(0, x, g.Exp(x)) }), "an input has its place")
	require.Equal(t, 1, joins(func(g *graph.Graph, x *graph.Value) *graph.Value {
		y := g.Exp(x)
		return g.Concat(0, y, y)
	}))
	require.Equal(t, 1, joins(func(g *graph.Graph, x *graph.Value) *graph.Value {
		y := g.Exp(g.Reshape(x, 8, 8))
		return g.Concat(0, g.SliceAxis(y, 0, 0, 1), y)
	}), "32 bytes")
	require.Equal(t, 1, joins(func(g *graph.Graph, x *graph.Value) *graph.Value { return g.Concat(1, g.Exp(x), g.Tanh(x)) }), "columns")
}
