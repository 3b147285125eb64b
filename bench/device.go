package bench

import (
	"fmt"
	"time"

	"ringo/runtime/backend"
	"ringo/runtime/graph"
	"ringo/runtime/plan"
	"ringo/runtime/tensor"
)

// peakSide is the size of the square matrices that a GPU's peak is measured with: large enough to fill any.
// The software device, whose speed means nothing, gets small ones.
const peakSide, softPeakSide = 8192, 48

// devicePeak measures a device's rate of matrix products in GFLOP/s, by its fastest of a few runs: what a training
// step's rate is compared with. The factors are numbers as data has them: of zeros, which new memory holds, a GPU's products draw
// less power and run a tenth faster.
func devicePeak(b backend.Backend, precision tensor.DType) (float64, error) {
	n := peakSide
	if b.Name() != "cuda" {
		n = softPeakSide
	}
	o := backend.Tuned(b, plan.Options{Precision: precision, Storage: tensor.F32})
	g, err := graph.Build(func(g *graph.Graph) {
		factor := func(name string) *graph.Value {
			return g.Param(graph.Leaf{Name: name, Type: graph.Type{DType: o.Storage, Shape: tensor.Shape{n, n}}})
		}
		g.Output("c", g.MatMul(factor("a"), factor("b"), graph.MatMul{}))
	})
	if err != nil {
		return 0, err
	}
	p, err := plan.Compile(g, o)
	if err != nil {
		return 0, err
	}
	st := b.NewStore()
	defer st.Close()
	e, err := b.Compile(p, st)
	if err != nil {
		return 0, fmt.Errorf("measuring the device's peak: %w", err)
	}
	defer e.Close()
	if err := fillNumbers(st, e, p); err != nil {
		return 0, err
	}
	out := tensor.New(p.Outputs["c"].Type.DType, n, n)
	if err := e.Fetch("c", out.Bytes()); err != nil { // waits
		return 0, err
	}
	return bestRate(e, 2*float64(n)*float64(n)*float64(n), func() error { return e.Fetch("c", out.Bytes()) })
}

// bestRate times a program from few and from many runs, both with one wait at the end, so that the wait and its copy
// cancel; it returns the best rate of three.
func bestRate(e backend.Executable, flops float64, wait func() error) (float64, error) {
	const few, many = 2, 22
	runs := func(n int) (time.Duration, error) {
		start := time.Now()
		for range n {
			if err := e.Run(0, len(e.Program().Instrs)); err != nil {
				return 0, err
			}
		}
		err := wait()
		return time.Since(start), err
	}
	best := 0.0
	for range 3 {
		short, err := runs(few)
		if err != nil {
			return 0, err
		}
		long, err := runs(many)
		if err != nil {
			return 0, err
		}
		best = max(best, flops*(many-few)/max(long-short, 1).Seconds()/1e9)
	}
	return best, nil
}
