//go:build !cgo

package ring

import "ringo/runtime/tensor"

func add(dt tensor.DType, dst, a, b []byte) { addPlain(dt, dst, a, b) }
func toBF16(dst []byte, v []float32)        { toBF16Plain(dst, v) }
func fromBF16(v []float32, src []byte)      { fromBF16Plain(v, src) }
func addBF16(v []float32, src []byte)       { addBF16Plain(v, src) }
