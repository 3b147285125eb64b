package kernels_test

import (
	"fmt"

	"ringo/kernels"
	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

// A call is bound to memory once and then run as often as needed. Memory of kernels lies outside the Go heap.
func ExampleBind() {
	kernels.Init(0)
	arena, err := kernels.NewArena(3 * tensor.Align)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer arena.Close()
	view := func(i int, shape ...int) kernels.View {
		t := graph.Type{DType: tensor.F32, Shape: shape}
		return kernels.View{Type: t, Bytes: arena.Bytes[i*tensor.Align : i*tensor.Align+t.Bytes()]}
	}
	a, b, y := view(0, 2, 2), view(1, 2, 2), view(2, 2, 2)
	a.Store([]float64{1, 2, 3, 4})
	b.Store([]float64{0, 1, 1, 0})
	run, err := kernels.Bind(&kernels.Call{Op: "matmul", Attrs: graph.MatMul{}, Precision: tensor.F32,
		In: []kernels.View{a, b}, Out: []kernels.View{y}}, false)
	if err != nil {
		fmt.Println(err)
		return
	}
	run()
	fmt.Println(y.Load())
	// Output: [2 1 4 3]
}
