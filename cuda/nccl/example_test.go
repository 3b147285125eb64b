//go:build cuda

package nccl_test

import (
	"fmt"

	"ringo/cuda/nccl"
)

// Where the library is not installed, opening it says so; gradients are then summed by the ring.
func ExampleOpen() {
	_, err := nccl.Open("/nowhere/libnccl.so.2")
	fmt.Println(err != nil)
	// Output: true
}
