//go:build cuda

package driver_test

import (
	"fmt"

	"gorgonia.org/cu"

	"ringo/cuda/driver"
)

// Without a driver every call answers that there is no device; opening one says why.
func ExampleOpen() {
	_, err := cu.NumDevices()
	fmt.Println(err)
	err = driver.Open("/nowhere/libcuda.so.1")
	fmt.Println(err)
	// Output:
	// NoDevice
	// no CUDA driver: /nowhere/libcuda.so.1: cannot open shared object file: No such file or directory
}
