package onnxtest

import (
	"encoding/binary"
	"fmt"
	"math"

	"ringo/export/onnxpb"
	"ringo/runtime/tensor"
)

// maxTensorBytes bounds what a tensor of a test may claim to hold; the largest takes some 100 kB.
const maxTensorBytes = 64 << 20

var dtypes = map[onnxpb.TensorProto_DataType]tensor.DType{
	onnxpb.TensorProto_FLOAT:    tensor.F32,
	onnxpb.TensorProto_DOUBLE:   tensor.F64,
	onnxpb.TensorProto_FLOAT16:  tensor.F16,
	onnxpb.TensorProto_BFLOAT16: tensor.BF16,
	onnxpb.TensorProto_INT8:     tensor.I8,
	onnxpb.TensorProto_UINT8:    tensor.U8,
	onnxpb.TensorProto_INT32:    tensor.I32,
	onnxpb.TensorProto_INT64:    tensor.I64,
	onnxpb.TensorProto_BOOL:     tensor.Bool,
}

// DType maps an ONNX element type (TensorProto.DataType) to ringo's.
func DType(t int32) (tensor.DType, error) {
	if d, ok := dtypes[onnxpb.TensorProto_DataType(t)]; ok {
		return d, nil
	}
	return tensor.Invalid, fmt.Errorf("element type %v: ringo has none like it", onnxpb.TensorProto_DataType(t))
}

// Tensor decodes p. The elements lie either as little-endian bytes in raw_data or in the field of their type;
// types narrower than 32 bits are widened into int32_data, floating-point ones by their bits.
func Tensor(p *onnxpb.TensorProto) (*tensor.Tensor, error) {
	dt, err := DType(p.GetDataType())
	if err != nil {
		return nil, fmt.Errorf("tensor %q: %w", p.GetName(), err)
	}
	shape, size := tensor.Shape{}, int64(dt.Size())
	for _, d := range p.GetDims() {
		if d < 0 || (d > 0 && size > maxTensorBytes/d) {
			return nil, fmt.Errorf("tensor %q: dimensions %v: expected at most %d bytes", p.GetName(), p.GetDims(), maxTensorBytes)
		}
		shape, size = append(shape, int(d)), size*d
	}
	t := tensor.New(dt, shape...)
	raw := p.GetRawData()
	if len(raw) == 0 {
		raw = fields(p, dt.Size())
	}
	if len(raw) != len(t.Bytes()) {
		return nil, fmt.Errorf("tensor %q: %d bytes, expected %d for %v", p.GetName(), len(raw), len(t.Bytes()), t)
	}
	copy(t.Bytes(), raw)
	return t, nil
}

// fields returns the typed field of p that is filled as little-endian elements of size bytes.
func fields(p *onnxpb.TensorProto, size int) []byte {
	var raw []byte
	word := func(u uint64) {
		raw = append(raw, binary.LittleEndian.AppendUint64(nil, u)[:size]...)
	}
	for _, v := range p.GetFloatData() {
		word(uint64(math.Float32bits(v)))
	}
	for _, v := range p.GetDoubleData() {
		word(math.Float64bits(v))
	}
	for _, v := range p.GetInt32Data() {
		word(uint64(v))
	}
	for _, v := range p.GetInt64Data() {
		word(uint64(v))
	}
	return raw
}
