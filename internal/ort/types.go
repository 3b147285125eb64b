//go:build cgo

package ort

import (
	"fmt"

	onnx "github.com/yalue/onnxruntime_go"

	"ringo/runtime/tensor"
)

// types is the table of element types that cross the border.
var types = []row{
	typed[float32](tensor.F32, onnx.TensorElementDataTypeFloat), typed[float64](tensor.F64, onnx.TensorElementDataTypeDouble),
	typed[int8](tensor.I8, onnx.TensorElementDataTypeInt8), typed[uint8](tensor.U8, onnx.TensorElementDataTypeUint8),
	typed[int32](tensor.I32, onnx.TensorElementDataTypeInt32), typed[int64](tensor.I64, onnx.TensorElementDataTypeInt64), booleans,
}

// row converts one element type: wrap makes a value over t's own memory, unwrap copies one into a new tensor,
// nil where v is of another type.
type row struct {
	dtype  tensor.DType
	onnx   onnx.TensorElementDataType
	wrap   func(t *tensor.Tensor) (onnx.Value, error)
	scalar func() (onnx.Value, error) // a 0-dimensional value to be written
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

func elementType(d onnx.TensorElementDataType) *row {
	for i := range types {
		if types[i].onnx == d {
			return &types[i]
		}
	}
	return nil
}

func typed[T interface {
	tensor.Elem
	onnx.TensorData
}](d tensor.DType, o onnx.TensorElementDataType) row {
	return row{
		dtype: d, onnx: o,
		wrap: func(t *tensor.Tensor) (onnx.Value, error) {
			if len(t.Shape) == 0 {
				return onnx.NewScalar(tensor.Data[T](t)[0])
			}
			return onnx.NewTensor(dims(t.Shape), tensor.Data[T](t))
		},
		scalar: func() (onnx.Value, error) { return onnx.NewEmptyScalar[T]() },
		unwrap: func(v onnx.Value) *tensor.Tensor {
			if x, ok := v.(*onnx.Scalar[T]); ok {
				return tensor.Of(tensor.Shape{}, x.GetData())
			}
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
	dtype: tensor.Bool, onnx: onnx.TensorElementDataTypeBool,
	wrap: func(t *tensor.Tensor) (onnx.Value, error) {
		if len(t.Shape) == 0 {
			return onnx.NewScalar(t.Bytes()[0] != 0)
		}
		data := make([]bool, t.Size())
		for i, b := range t.Bytes() {
			data[i] = b != 0
		}
		return onnx.NewTensor(dims(t.Shape), data)
	},
	scalar: func() (onnx.Value, error) { return onnx.NewEmptyScalar[bool]() },
	unwrap: func(v onnx.Value) *tensor.Tensor {
		if x, ok := v.(*onnx.Scalar[bool]); ok {
			t := tensor.New(tensor.Bool)
			if x.GetData() {
				t.Bytes()[0] = 1
			}
			return t
		}
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
