package graph_test

import (
	"fmt"

	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

// A graph is built, differentiated on itself, and printed. Nothing is computed.
func Example() {
	g, err := graph.Build(func(g *graph.Graph) {
		x := g.Input("x", tensor.F32, 3)
		y := g.Sum(g.Mul(x, x), false)
		g.Output("y", y)
		dx, err := g.Gradient(y, 1, []*graph.Value{x})
		if err != nil {
			panic(err)
		}
		g.Output("dx", dx[0])
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, n := range g.Nodes {
		fmt.Print(n.ID, " ", n.Op.Name, " ")
		for _, v := range n.In {
			fmt.Print(v.Node.ID, " ")
		}
		fmt.Println("→", n.Out[0].Type)
	}
	// Output:
	// 0 input → f32(3)
	// 1 mul 0 0 → f32(3)
	// 2 sum 1 → f32()
	// 3 fill → f32()
	// 4 reshape 2 → f32(1)
	// 5 reshape 3 → f32(1)
	// 6 broadcast 5 → f32(3)
	// 7 mul 6 0 → f32(3)
	// 8 mul 6 0 → f32(3)
	// 9 add 7 8 → f32(3)
}
