package plan_test

import (
	"fmt"
	"strings"

	"ringo/runtime/graph"
	"ringo/runtime/plan"
	"ringo/runtime/tensor"
)

// Options.Dump sees the graph after every pass: here, how a bias, an activation and a residual sum end up inside
// one matrix product. plan.Explain prints the program.
func Example() {
	g, err := graph.Build(func(g *graph.Graph) {
		x := g.Input("x", tensor.F32, 4, 8)
		w := g.Param(graph.Leaf{Name: "w", Type: graph.Type{DType: tensor.F32, Shape: tensor.Shape{8, 8}}})
		b := g.Param(graph.Leaf{Name: "b", Type: graph.Type{DType: tensor.F32, Shape: tensor.Shape{8}}})
		g.Output("y", g.Add(x, g.Relu(g.Linear(x, w, b))))
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	p, err := plan.Compile(g, plan.Options{Dump: func(pass string, g *graph.Graph) {
		var ops []string
		for _, n := range g.Nodes {
			if !n.Op.Leaf {
				ops = append(ops, n.Op.Name)
			}
		}
		fmt.Printf("%-15s %s\n", pass, strings.Join(ops, " "))
	}})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%d instruction: %+v\n", len(p.Instrs), p.Instrs[0].Attrs)
	// Output:
	// storage         matmul relu add
	// round           matmul relu add
	// pad-classes     matmul relu add
	// differentiate   matmul relu add
	// simplify        matmul relu add
	// int8            matmul relu add
	// recompute       matmul relu add
	// fuse-loss       matmul relu add
	// classifier-rows matmul relu add
	// fuse-epilogue   matmul
	// keep-slope      matmul
	// fuse-residual   matmul
	// simplify-again  matmul
	// fuse-bias-grad  matmul
	// blocks          matmul
	// half-factors    matmul
	// prune           matmul
	// 1 instruction: {TransA:false TransB:false Bias:true Act:relu KeepPre:false ActGrad: Residual:true Blocks:[0 0] Slope:false Term:false}
}
