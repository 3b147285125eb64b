package tensor

import "math"

// BF16FromF32 rounds to nearest, ties to even; NaN stays NaN.
func BF16FromF32(f float32) uint16 {
	u := math.Float32bits(f)
	if u&0x7fffffff > 0x7f800000 {
		return uint16(u>>16) | 0x40
	}
	return uint16((u + 0x7fff + (u >> 16 & 1)) >> 16)
}

// F32FromBF16 widens exactly.
func F32FromBF16(h uint16) float32 { return math.Float32frombits(uint32(h) << 16) }

// F16FromF32 rounds to nearest, ties to even, with subnormals and infinities (IEEE 754 binary16).
func F16FromF32(f float32) uint16 {
	u := math.Float32bits(f)
	sign := uint16(u >> 16 & 0x8000)
	u &= 0x7fffffff
	switch {
	case u > 0x7f800000:
		return sign | 0x7e00
	case u >= 0x477ff000: // rounds to 2^16 or above
		return sign | 0x7c00
	case u < 0x38800000: // subnormal: adding 0.5 aligns the mantissa at bit 0 and rounds
		return sign | uint16(math.Float32bits(math.Float32frombits(u)+0.5)-0x3f000000)
	}
	return sign | uint16((u-0x38000000+0xfff+(u>>13&1))>>13)
}

// F32FromF16 widens exactly.
func F32FromF16(h uint16) float32 {
	sign := uint32(h&0x8000) << 16
	exp, man := uint32(h>>10&31), uint32(h&0x3ff)
	switch exp {
	case 0:
		v := float32(man) / (1 << 24)
		return math.Float32frombits(math.Float32bits(v) | sign)
	case 31:
		return math.Float32frombits(sign | 0x7f800000 | man<<13)
	}
	return math.Float32frombits(sign | (exp+112)<<23 | man<<13)
}

// Float64s returns every element as float64; I64 beyond 2^53 is rounded.
func (t *Tensor) Float64s() []float64 {
	out := make([]float64, t.Size())
	LoadFloat64(out, t.DType, t.data)
	return out
}

// LoadFloat64 converts len(dst) elements of raw to float64.
func LoadFloat64(dst []float64, d DType, raw []byte) {
	switch d {
	case F32:
		widen(dst, View[float32](raw))
	case F64:
		copy(dst, View[float64](raw))
	case F16:
		for i, h := range View[uint16](raw)[:len(dst)] {
			dst[i] = float64(F32FromF16(h))
		}
	case BF16:
		for i, h := range View[uint16](raw)[:len(dst)] {
			dst[i] = float64(F32FromBF16(h))
		}
	case I8:
		widen(dst, View[int8](raw))
	case U8, Bool:
		widen(dst, raw)
	case I32:
		widen(dst, View[int32](raw))
	case I64:
		widen(dst, View[int64](raw))
	}
}

// StoreFloat64 converts src to elements of type d in raw. Floats round to nearest even; integers are
// truncated toward zero; Bool becomes 1 for anything but 0.
func StoreFloat64(raw []byte, d DType, src []float64) {
	switch d {
	case F32:
		narrow(View[float32](raw), src)
	case F64:
		copy(View[float64](raw), src)
	case F16:
		out := View[uint16](raw)
		for i, v := range src {
			out[i] = F16FromF32(float32(v))
		}
	case BF16:
		out := View[uint16](raw)
		for i, v := range src {
			out[i] = BF16FromF32(float32(v))
		}
	case I8:
		narrow(View[int8](raw), src)
	case U8:
		narrow(raw, src)
	case I32:
		narrow(View[int32](raw), src)
	case I64:
		narrow(View[int64](raw), src)
	case Bool:
		for i, v := range src {
			raw[i] = 0
			if v != 0 {
				raw[i] = 1
			}
		}
	}
}

func widen[T Elem](dst []float64, src []T) {
	for i := range dst {
		dst[i] = float64(src[i])
	}
}

func narrow[T Elem](dst []T, src []float64) {
	for i, v := range src {
		dst[i] = T(v)
	}
}
