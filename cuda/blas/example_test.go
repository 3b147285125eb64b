//go:build cuda

package blas_test

import (
	"fmt"
	"os"

	"ringo/cuda/blas"
)

// Where the library is not installed, opening it says so; products then go to ringo's own kernels.
func ExampleOpen() {
	os.Setenv("RINGO_CUBLASLT", "/nowhere/libcublasLt.so.12")
	_, err := blas.Open()
	fmt.Println(err)
	// Output: no cuBLASLt: /nowhere/libcublasLt.so.12: cannot open shared object file: No such file or directory
}
