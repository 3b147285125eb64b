//go:build cuda

package kernels

import (
	"encoding/binary"
	"fmt"
	"math"

	"ringo/runtime/tensor"
)

// wordThreads is the block of kernels that move words; see words.cuh.
const wordThreads = 256

// widest returns the largest word, up to 16 bytes, that divides every number of bytes.
func widest(bytes ...int64) int {
	for size := int64(16); size > 1; size /= 2 {
		fits := true
		for _, b := range bytes {
			fits = fits && b%size == 0
		}
		if fits {
			return int(size)
		}
	}
	return 1
}

// pattern is value in type d, repeated over 8 bytes.
func pattern(d tensor.DType, value float64) uint64 {
	var raw [8]byte
	size := d.Size()
	tensor.StoreFloat64(raw[:size], d, []float64{value})
	for i := size; i < 8; i++ {
		raw[i] = raw[i-size]
	}
	return binary.LittleEndian.Uint64(raw[:])
}

// absent is what stands where an index leads nowhere: NaN, or 0 in types that have none.
func absent(d tensor.DType) uint64 {
	if d.IsFloat() {
		return pattern(d, math.NaN())
	}
	return 0
}

// wordKernel names the version of a kernel for words of `size` bytes.
func wordKernel(name string, size int) string { return fmt.Sprintf("%s_%d", name, size) }

// indexSuffix names an index type in kernel names.
func indexSuffix(d tensor.DType) string {
	if d == tensor.I64 {
		return "_i64"
	}
	return "_i32"
}
