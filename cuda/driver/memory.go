//go:build cuda

package driver

// #include <stdlib.h>
// #include "commands.h"
import "C"

import (
	"fmt"
	"unsafe"

	"gorgonia.org/cu"
)

// handle reads the one field of a gorgonia.org/cu handle, which the package does not export.
func handle[T cu.Function | cu.Stream | cu.CUContext | cu.Event](h T) unsafe.Pointer {
	return *(*unsafe.Pointer)(unsafe.Pointer(&h))
}

// Error is a driver's result code other than success, or the status of a library's call.
type Error int

// OutOfMemory is the driver's answer to an allocation that does not fit.
const OutOfMemory = Error(C.CUDA_ERROR_OUT_OF_MEMORY)

func (e Error) Error() string {
	if e >= C.RINGO_LIBRARY_STATUS {
		return fmt.Sprintf("the library's call failed with status %d", int(e)-C.RINGO_LIBRARY_STATUS)
	}
	var name, text *C.char
	if C.cuGetErrorName(C.CUresult(e), &name) != C.CUDA_SUCCESS || C.cuGetErrorString(C.CUresult(e), &text) != C.CUDA_SUCCESS {
		return fmt.Sprintf("CUDA error %d", int(e))
	}
	return fmt.Sprintf("%s: %s", C.GoString(name), C.GoString(text))
}

// Result turns a driver's result code into an error, nil for success.
func Result(code int) error {
	if code == 0 {
		return nil
	}
	return Error(code)
}

// Pinned is page-locked host memory, which the device copies from and to while the host goes on.
type Pinned struct{ Bytes []byte }

// NewPinned allocates n bytes in the current context.
func NewPinned(n int64) (*Pinned, error) {
	if n == 0 {
		return &Pinned{}, nil
	}
	var p unsafe.Pointer
	if err := Result(int(C.cuMemHostAlloc(&p, C.size_t(n), C.CU_MEMHOSTALLOC_PORTABLE))); err != nil {
		return nil, fmt.Errorf("%d bytes of page-locked memory: %w", n, err)
	}
	return &Pinned{unsafe.Slice((*byte)(p), n)}, nil
}

// Close frees the memory.
func (p *Pinned) Close() error {
	if p.Bytes == nil {
		return nil
	}
	mem := unsafe.Pointer(unsafe.SliceData(p.Bytes))
	p.Bytes = nil
	return Result(int(C.cuMemFreeHost(mem)))
}

// DynamicShared lets a kernel ask for up to n bytes of dynamic shared memory, where that is more than 48 KiB.
func DynamicShared(f cu.Function, n int) error {
	return Result(int(C.cuFuncSetAttribute((C.CUfunction)(handle(f)), C.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, C.int(n))))
}

// ParamSizes returns the sizes of a kernel's parameters, false where the driver is too old (before 12.4) to tell.
func ParamSizes(f cu.Function) ([]int, bool) {
	var sizes []int
	for i := 0; ; i++ {
		n, rc := paramSize(f, i)
		switch rc {
		case C.CUDA_SUCCESS:
			sizes = append(sizes, n)
		case C.CUDA_ERROR_INVALID_VALUE: // past the last one
			return sizes, true
		default:
			return nil, false
		}
	}
}
