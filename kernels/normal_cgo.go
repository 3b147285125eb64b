//go:build cgo

package kernels

// #cgo noescape rg_normal
// #cgo nocallback rg_normal
// #include "normal.h"
import "C"

import (
	"unsafe"

	"ringo/runtime/tensor"
)

// FillNormal writes what p.FillNormal does, to the same bits, by the CPU's vectors and threads. The counter's first word must not
// overflow on the way: len(dst) < 2³⁴.
func FillNormal(dst []float32, p tensor.Philox, mean, std float32) {
	if len(dst) == 0 {
		return
	}
	Init(0) // where nothing has started the threads yet
	C.rg_normal((*C.float)(unsafe.SliceData(dst)), (*C.uint32_t)(&p.Key[0]), (*C.uint32_t)(&p.Counter[0]), C.float(mean), C.float(std), C.long(len(dst)))
}
