//go:build cgo

package ort

import (
	"fmt"

	onnx "github.com/yalue/onnxruntime_go"

	"ringo/runtime/tensor"
)

// types is the table of element types that cross the border.
var types = []row{
	typed[float32](tensor.F32), typed[float64](tensor.F64), typed[int8](tensor.I8), typed[uint8](tensor.U8),
	typed[int32](tensor.I32), typed[int64](tensor.I64), booleans,
}

// row converts one element type: wrap makes a value over t's own memory, unwrap copies one into a new tensor,
// nil where v is of another type.
type row struct {
	dtype  tensor.DType
	wrap   func(t *tensor.Tensor) (onnx.Value, error)
	unwrap func(v onnx.Value) *tensor.Tensor
}

func typeOf(d tensor.DType) *row {
	for i := range types {
		if types[i].dtype == d {
			return &types[i]
		}
	}
	return nil
}

func typed[T interface {
	tensor.Elem
	onnx.TensorData
}](d tensor.DType) row {
	return row{
		dtype: d,
		wrap: func(t *tensor.Tensor) (onnx.Value, error) {
			return onnx.NewTensor(dims(t.Shape), tensor.Data[T](t))
		},
		unwrap: func(v onnx.Value) *tensor.Tensor {
			x, ok := v.(*onnx.Tensor[T])
			if !ok {
				return nil
			}
			t := tensor.New(d, shape(x.GetShape())...)
			copy(tensor.Data[T](t), x.GetData())
			return t
		},
	}
}

// booleans are bytes of 0 or 1 on both sides, but Go's bool is no tensor.Elem.
var booleans = row{
	dtype: tensor.Bool,
	wrap: func(t *tensor.Tensor) (onnx.Value, error) {
		data := make([]bool, t.Size())
		for i, b := range t.Bytes() {
			data[i] = b != 0
		}
		return onnx.NewTensor(dims(t.Shape), data)
	},
	unwrap: func(v onnx.Value) *tensor.Tensor {
		x, ok := v.(*onnx.Tensor[bool])
		if !ok {
			return nil
		}
		t := tensor.New(tensor.Bool, shape(x.GetShape())...)
		for i, b := range x.GetData() {
			if b {
				t.Bytes()[i] = 1
			}
		}
		return t
	},
}

func unwrap(v onnx.Value) (*tensor.Tensor, error) {
	for _, r := range types {
		if t := r.unwrap(v); t != nil {
			return t, nil
		}
	}
	return nil, fmt.Errorf("a %T has no tensor form here", v)
}

func dims(s tensor.Shape) onnx.Shape {
	out := make(onnx.Shape, len(s))
	for i, d := range s {
		out[i] = int64(d)
	}
	return out
}

func shape(s onnx.Shape) tensor.Shape {
	out := make(tensor.Shape, len(s))
	for i, d := range s {
		out[i] = int(d)
	}
	return out
}
