package backendtest_test

import (
	"fmt"

	"ringo/runtime/backend/backendtest"
	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

// Inputs of the suite follow from an op's samples; a backend's own test is one call of backendtest.Run.
func ExampleFill() {
	x := backendtest.Fill(graph.InIndex(10, 2, 3), tensor.F32, 1)
	y := backendtest.Fill(graph.InIndex(10, 2, 3), tensor.F32, 1)
	fmt.Println(x, fmt.Sprint(x.Float64s()) == fmt.Sprint(y.Float64s()))
	// Output: i32(2,3) true
}
