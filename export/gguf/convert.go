package gguf

import (
	"encoding/binary"
	"fmt"
	"math"

	"ringo/runtime/tensor"
)

// maxF16 is the largest number that rounds to a finite f16.
const maxF16 = 65519.996

// convert appends x, whole rows of n elements, in the element type t. Numbers too large for half precision are an
// error: llama.cpp would compute with infinities.
func (t Type) convert(dst []byte, x []float32) ([]byte, error) {
	switch t {
	case F32:
		for _, v := range x {
			dst = le32(dst, math.Float32bits(v))
		}
	case F16:
		for i, v := range x {
			if math.Abs(float64(v)) > maxF16 {
				return nil, fmt.Errorf("element %d is %g, more than f16 can hold: export f32", i, v)
			}
			dst = binary.LittleEndian.AppendUint16(dst, tensor.F16FromF32(v))
		}
	case Q8_0:
		for i := 0; i < len(x); i += block {
			var err error
			if dst, err = quantize(dst, x[i:i+block]); err != nil {
				return nil, fmt.Errorf("element %d and those behind it: %w", i, err)
			}
		}
	}
	return dst, nil
}

// quantize appends one Q8_0 block as quantize_row_q8_0_ref of ggml does: d = max|x|/127, q = round(x/d), halves away
// from zero. The numbers are rounded with d in f32; the file has it in f16.
func quantize(dst []byte, x []float32) ([]byte, error) {
	var top float32
	for _, v := range x {
		top = max(top, float32(math.Abs(float64(v))))
	}
	d := top / 127
	if d > maxF16 {
		return nil, fmt.Errorf("magnitudes up to %g need a scale larger than f16 can hold: export f32", top)
	}
	inverse := float32(0)
	if d > 0 {
		inverse = 1 / d
	}
	dst = binary.LittleEndian.AppendUint16(dst, tensor.F16FromF32(d))
	for _, v := range x {
		dst = append(dst, byte(int8(math.Round(float64(v*inverse)))))
	}
	return dst, nil
}

// transpose writes the transpose of src (rows, cols) into dst by square tiles, so that both stay in the cache.
func transpose(dst, src []float32, rows, cols int) {
	const tile = 32
	for i0 := 0; i0 < rows; i0 += tile {
		for j0 := 0; j0 < cols; j0 += tile {
			for i := i0; i < min(i0+tile, rows); i++ {
				for j := j0; j < min(j0+tile, cols); j++ {
					dst[j*rows+i] = src[i*cols+j]
				}
			}
		}
	}
}
