package ring

import "ringo/runtime/tensor"

// addPlain writes dst = a + b, element by element; dst may be a or b. Sums of f16 and bf16 are rounded to nearest even
// from f32. This is the plain version; add.c has loops that compilers vectorise.
func addPlain(dt tensor.DType, dst, a, b []byte) {
	switch dt {
	case tensor.F32:
		sum(tensor.View[float32](dst), tensor.View[float32](a), tensor.View[float32](b))
	case tensor.F64:
		sum(tensor.View[float64](dst), tensor.View[float64](a), tensor.View[float64](b))
	case tensor.I32:
		sum(tensor.View[int32](dst), tensor.View[int32](a), tensor.View[int32](b))
	case tensor.BF16:
		half(dst, a, b, tensor.F32FromBF16, tensor.BF16FromF32)
	case tensor.F16:
		half(dst, a, b, tensor.F32FromF16, tensor.F16FromF32)
	}
}

func sum[T float32 | float64 | int32](dst, a, b []T) {
	a, b = a[:len(dst)], b[:len(dst)]
	for i := range dst {
		dst[i] = a[i] + b[i]
	}
}

func half(dst, a, b []byte, wide func(uint16) float32, narrow func(float32) uint16) {
	d, x, y := tensor.View[uint16](dst), tensor.View[uint16](a), tensor.View[uint16](b)
	for i := range d {
		d[i] = narrow(wide(x[i]) + wide(y[i]))
	}
}

func toBF16Plain(dst []byte, v []float32) {
	d := tensor.View[uint16](dst)
	for i, f := range v {
		d[i] = tensor.BF16FromF32(f)
	}
}

func fromBF16Plain(v []float32, src []byte) {
	for i, h := range tensor.View[uint16](src)[:len(v)] {
		v[i] = tensor.F32FromBF16(h)
	}
}

func addBF16Plain(v []float32, src []byte) {
	for i, h := range tensor.View[uint16](src)[:len(v)] {
		v[i] += tensor.F32FromBF16(h)
	}
}
