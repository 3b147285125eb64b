package ort

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"ringo/export/onnxpb"
	"ringo/runtime/tensor"
)

// identity is a model y = Identity(x) for one element type and an open first dimension.
func identity(dt onnxpb.TensorProto_DataType) *onnxpb.ModelProto {
	value := func(name string) *onnxpb.ValueInfoProto {
		dim := &onnxpb.TensorShapeProto_Dimension{Value: &onnxpb.TensorShapeProto_Dimension_DimParam{DimParam: "n"}}
		return &onnxpb.ValueInfoProto{Name: proto.String(name), Type: &onnxpb.TypeProto{Value: &onnxpb.TypeProto_TensorType{
			TensorType: &onnxpb.TypeProto_Tensor{ElemType: proto.Int32(int32(dt)), Shape: &onnxpb.TensorShapeProto{Dim: []*onnxpb.TensorShapeProto_Dimension{dim}}}}}}
	}
	return &onnxpb.ModelProto{
		IrVersion: proto.Int64(8), OpsetImport: []*onnxpb.OperatorSetIdProto{{Version: proto.Int64(17)}},
		MetadataProps: []*onnxpb.StringStringEntryProto{{Key: proto.String("made.by"), Value: proto.String("test")}},
		Graph: &onnxpb.GraphProto{Name: proto.String("g"), Input: []*onnxpb.ValueInfoProto{value("x")}, Output: []*onnxpb.ValueInfoProto{value("y")},
			Node: []*onnxpb.NodeProto{{OpType: proto.String("Identity"), Input: []string{"x"}, Output: []string{"y"}}}},
	}
}

func write(t *testing.T, m *onnxpb.ModelProto) string {
	raw, err := proto.Marshal(m)
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "m.onnx")
	require.NoError(t, os.WriteFile(path, raw, 0o666))
	return path
}

func TestTypesPassThrough(t *testing.T) {
	t.Parallel()
	Need(t)
	for dt, x := range map[onnxpb.TensorProto_DataType]*tensor.Tensor{
		onnxpb.TensorProto_FLOAT: tensor.Of(tensor.Shape{3}, float32(1.5), -2, 3),
		onnxpb.TensorProto_INT8:  tensor.Of(tensor.Shape{2}, int8(-128), 127),
		onnxpb.TensorProto_UINT8: tensor.Of(tensor.Shape{2}, uint8(0), 255),
		onnxpb.TensorProto_INT32: tensor.Of(tensor.Shape{2}, int32(-7), 1<<30),
		onnxpb.TensorProto_INT64: tensor.Of(tensor.Shape{1}, int64(-1)<<60),
	} {
		s := Open(t, write(t, identity(dt)), Options{})
		out, err := s.Run(map[string]*tensor.Tensor{"x": x})
		require.NoError(t, err)
		require.Equal(t, x, out["y"])
		v, err := s.Metadata("made.by")
		require.NoError(t, err)
		require.Equal(t, "test", v)
		_, err = s.Run(nil)
		require.ErrorContains(t, err, `no value for input "x"`)
	}
}

func Example() {
	_, err := Library()
	if err != nil {
		fmt.Println("tests that need ONNX Runtime skip")
	}
	// In a test:
	//   s := ort.Open(t, "model.onnx", ort.Options{})
	//   out, err := s.Run(map[string]*tensor.Tensor{"tokens": ids})
}
