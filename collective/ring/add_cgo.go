//go:build cgo

package ring

// #include "add.h"
import "C"

import (
	"unsafe"

	"ringo/runtime/tensor"
)

func u16(b []byte) *C.uint16_t { return (*C.uint16_t)(unsafe.Pointer(unsafe.SliceData(b))) }
func f32(b []byte) *C.float    { return (*C.float)(unsafe.Pointer(unsafe.SliceData(b))) }

// add writes dst = a + b; dst may be a or b.
func add(dt tensor.DType, dst, a, b []byte) {
	n := C.long(len(dst) / dt.Size())
	switch dt {
	case tensor.F32:
		C.ring_add_f32(f32(dst), f32(a), f32(b), n)
	case tensor.F64:
		C.ring_add_f64((*C.double)(unsafe.Pointer(f32(dst))), (*C.double)(unsafe.Pointer(f32(a))), (*C.double)(unsafe.Pointer(f32(b))), n)
	case tensor.I32:
		C.ring_add_i32((*C.uint32_t)(unsafe.Pointer(f32(dst))), (*C.uint32_t)(unsafe.Pointer(f32(a))), (*C.uint32_t)(unsafe.Pointer(f32(b))), n)
	case tensor.BF16:
		C.ring_add_bf16(u16(dst), u16(a), u16(b), n)
	case tensor.F16:
		k := 2 * int(C.ring_add_f16(u16(dst), u16(a), u16(b), n))
		addPlain(dt, dst[k:], a[k:len(dst)], b[k:len(dst)])
	}
}

func toBF16(dst []byte, v []float32) {
	C.ring_to_bf16(u16(dst), (*C.float)(unsafe.SliceData(v)), C.long(len(v)))
}

func fromBF16(v []float32, src []byte) {
	C.ring_from_bf16((*C.float)(unsafe.SliceData(v)), u16(src), C.long(len(v)))
}

func addBF16(v []float32, src []byte) {
	C.ring_sum_bf16((*C.float)(unsafe.SliceData(v)), u16(src), C.long(len(v)))
}
