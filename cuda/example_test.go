//go:build cuda

package cuda_test

import (
	"fmt"

	_ "ringo/cuda"
	"ringo/runtime/backend"
)

// The software device is opened like any other and says what it is.
func Example() {
	b, err := backend.Open("soft", backend.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(b.Describe())
	// Output: soft:0, a software simulation of a CUDA device on the CPU: for tests, slow, its times mean nothing
}
