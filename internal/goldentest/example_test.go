package goldentest_test

import (
	"bytes"
	"fmt"
	"math"

	"ringo/internal/goldentest"
	_ "ringo/kernels" // the cpu device
	"ringo/models/golden"
	"ringo/runtime/backend"
	"ringo/runtime/plan"
)

// Ten steps come out as in PyTorch, and twice with the same bits.
func ExampleTrain() {
	c, err := golden.Load("../../models/testdata/mlp.json")
	if err != nil {
		fmt.Println(err)
		return
	}
	b, err := backend.Open("cpu", backend.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer b.Close()
	losses, weights, err := goldentest.Train(b, c, plan.Options{}, 1)
	if err != nil {
		fmt.Println(err)
		return
	}
	_, again, err := goldentest.Train(b, c, plan.Options{}, 1)
	fmt.Println(len(losses), math.Abs(losses[9]/c.LossesF32[9]-1) < 1e-4, bytes.Equal(weights, again), err)
	// Output: 10 true true <nil>
}
