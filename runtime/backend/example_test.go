package backend_test

import (
	"fmt"

	"ringo/runtime"
	"ringo/runtime/backend"
	"ringo/runtime/graph"
	"ringo/runtime/plan"
	"ringo/runtime/tensor"
)

// The null device binds any program and computes nothing: how much memory would this matrix product take?
func Example() {
	b, err := backend.Open("null", backend.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	e, err := runtime.Compile(b, b.NewStore(), func(g *graph.Graph) {
		x := g.Input("x", tensor.F32, 1<<20, 1<<10)
		w := g.Param(graph.Leaf{Name: "w", Type: graph.Type{DType: tensor.F32, Shape: tensor.Shape{1 << 10, 1 << 10}}})
		g.Output("y", g.Linear(x, w, nil))
	}, plan.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(b.Name(), e.Program().ArenaBytes()>>20, "MiB")
	// Output: null 8196 MiB
}
