package onnxtest

import (
	"fmt"
	"math"
	"os"
	"path"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"ringo/export/onnxpb"
	"ringo/kernels"
	"ringo/runtime/backend"
	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

// folder returns the folder of the node tests.
func folder(t *testing.T) string {
	t.Helper()
	for _, dir := range []string{os.Getenv("RINGO_DATA"), filepath.Join("..", "..", "..", "shared", "data")} {
		dir = filepath.Join(dir, "onnx-node-tests")
		if _, err := os.Stat(dir); err == nil {
			return dir
		}
	}
	t.Skip("needs the folder onnx-node-tests in ../shared/data or RINGO_DATA")
	return ""
}

// nodeTests lists the node tests of dir.
func nodeTests(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	var names []string
	for _, e := range entries {
		if e.IsDir() {
			names = append(names, e.Name())
		}
	}
	require.NotEmpty(t, names)
	return names
}

// TestNodes runs every node test that Skips does not list, as a planned program, with the fast kernels and with
// the float64 reference.
func TestNodes(t *testing.T) {
	t.Parallel()
	dir := folder(t)
	backends := map[string]backend.Backend{
		"fast":      kernels.NewCPU(backend.Options{}),
		"reference": kernels.NewCPU(backend.Options{Reference: true}),
	}
	var passed, skipped atomic.Int32
	t.Cleanup(func() { fmt.Printf("ONNX node tests: %d passed, %d skipped\n", passed.Load(), skipped.Load()) })
	for _, name := range nodeTests(t, dir) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if s := Skipped(name); s != nil {
				skipped.Add(1)
				t.Skip(s.Reason)
			}
			c, err := Read(filepath.Join(dir, name))
			require.NoError(t, err)
			op := c.Model.GetGraph().GetNode()[0].GetOpType()
			for which, b := range backends {
				got, err := c.Run(b)
				require.NoError(t, err, which)
				for i, want := range c.Outputs {
					tol := max(tolerance(op, want.Value.DType), Loose[name])
					require.NoError(t, Compare(got[i], unwrapped(name, got[i], want.Value), tol), "%s: output %q", which, want.Name)
				}
			}
			passed.Add(1)
		})
	}
}

// unwrapped returns want; in a test of Wraps, with the elements of got that saturated.
func unwrapped(name string, got, want *tensor.Tensor) *tensor.Tensor {
	if ok, _ := path.Match(Wraps, name); !ok || want.DType != tensor.I8 {
		return want
	}
	want = want.Clone()
	w := tensor.Data[int8](want)
	for i, v := range tensor.Data[int8](got) {
		if v == math.MinInt8 || v == math.MaxInt8 {
			w[i] = v
		}
	}
	return want
}

// TestSkips holds the list of skipped tests to its word: every entry has a reason and a test, and the reason is
// true of all of its tests.
func TestSkips(t *testing.T) {
	t.Parallel()
	for _, op := range Listed {
		require.Contains(t, builders, op, "an op of the list has no mapping")
	}
	dir := folder(t)
	names := nodeTests(t, dir)
	for _, s := range Skips {
		require.NotEmpty(t, s.Reason, s.Pattern)
		require.True(t, slices.ContainsFunc(names, func(n string) bool { ok, _ := path.Match(s.Pattern, n); return ok }),
			"%s: no test has such a name", s.Pattern)
	}
	for name := range Loose {
		require.Contains(t, names, name)
	}
	for _, name := range names {
		if s := Skipped(name); s != nil {
			requireTrue(t, filepath.Join(dir, name), s)
		}
	}
}

// requireTrue fails unless the reason s holds for the test in dir.
func requireTrue(t *testing.T, dir string, s *Skip) {
	t.Helper()
	m, err := ReadModel(dir)
	require.NoError(t, err)
	op := m.GetGraph().GetNode()[0].GetOpType()
	switch s.Kind {
	case OtherOp:
		require.NotContains(t, Listed, op, "%s is skipped as %q", dir, s.Reason)
		require.NotContains(t, builders, op, "%s is skipped as %q", dir, s.Reason)
	case OtherType:
		foreign := func(v *onnxpb.ValueInfoProto) bool {
			_, err := DType(v.GetType().GetTensorType().GetElemType())
			return err != nil
		}
		require.True(t, slices.ContainsFunc(slices.Concat(m.GetGraph().GetInput(), m.GetGraph().GetOutput()), foreign),
			"%s is skipped as %q, but ringo has its types", dir, s.Reason)
	case OtherCase, RandomMask:
		c, err := Read(dir)
		require.NoError(t, err)
		_, err = graph.Build(func(g *graph.Graph) { Import(g, c.Model, c.Inputs) })
		require.Error(t, err, "%s is skipped as %q, but it can be run", dir, s.Reason)
	}
}

// model is a model of one node with f32 inputs and outputs, for tests without data.
func model(op string, attrs []*onnxpb.AttributeProto, inputs, outputs []string, shape ...int64) *onnxpb.ModelProto {
	value := func(name string) *onnxpb.ValueInfoProto {
		t := &onnxpb.TypeProto_Tensor{ElemType: ptr(int32(onnxpb.TensorProto_FLOAT)), Shape: &onnxpb.TensorShapeProto{}}
		for _, d := range shape {
			dim := &onnxpb.TensorShapeProto_Dimension{Value: &onnxpb.TensorShapeProto_Dimension_DimValue{DimValue: d}}
			t.Shape.Dim = append(t.Shape.Dim, dim)
		}
		return &onnxpb.ValueInfoProto{Name: &name, Type: &onnxpb.TypeProto{Value: &onnxpb.TypeProto_TensorType{TensorType: t}}}
	}
	g := &onnxpb.GraphProto{Node: []*onnxpb.NodeProto{{OpType: &op, Input: inputs, Output: outputs, Attribute: attrs}}}
	for _, name := range inputs {
		g.Input = append(g.Input, value(name))
	}
	for _, name := range outputs {
		g.Output = append(g.Output, value(name))
	}
	return &onnxpb.ModelProto{OpsetImport: []*onnxpb.OperatorSetIdProto{{Version: ptr(int64(24))}}, Graph: g}
}

func ptr[T any](v T) *T { return &v }

// TestImportRefuses: what has no mapping is an error that names it, never a wrong result.
func TestImportRefuses(t *testing.T) {
	t.Parallel()
	odd := []*onnxpb.AttributeProto{{Name: ptr("odd"), I: ptr(int64(1))}}
	for want, m := range map[string]*onnxpb.ModelProto{
		`has no mapping`:                      model("Quux", nil, []string{"x"}, []string{"y"}, 2),
		`attribute "odd" of opset 24`:         model("Relu", odd, []string{"x"}, []string{"y"}, 2),
		`dimension "" is open`:                model("Relu", nil, []string{"x"}, []string{"y"}, 0),
		`no node computes it`:                 model("Relu", nil, []string{"x"}, []string{"y", "z"}, 2),
		`input 1 decides shapes`:              model("Reshape", nil, []string{"x", "shape"}, []string{"y"}, 2),
		`opset 24 is not supported`:           model("Exp", odd, []string{"x"}, []string{"y"}, 2),
		`expected one number per spatial axi`: model("MaxPool", []*onnxpb.AttributeProto{{Name: ptr("kernel_shape"), Ints: []int64{2}}, {Name: ptr("strides"), Ints: []int64{1, 1}}}, []string{"x"}, []string{"y"}, 1, 1, 4),
	} {
		_, err := graph.Build(func(g *graph.Graph) { Import(g, m, nil) })
		require.ErrorContains(t, err, want)
	}
}

// TestTensorRefuses: a damaged tensor is an error, and its size is bounded before memory is taken.
func TestTensorRefuses(t *testing.T) {
	t.Parallel()
	float := ptr(int32(onnxpb.TensorProto_FLOAT))
	for want, p := range map[string]*onnxpb.TensorProto{
		"8 bytes, expected 12":   {DataType: float, Dims: []int64{3}, RawData: make([]byte, 8)},
		"4 bytes, expected 8":    {DataType: float, Dims: []int64{2}, FloatData: []float32{1}},
		"expected at most":       {DataType: float, Dims: []int64{1 << 40, 1 << 40}},
		"dimensions [-1]":        {DataType: float, Dims: []int64{-1}},
		"element type STRING":    {DataType: ptr(int32(onnxpb.TensorProto_STRING))},
		"element type UNDEFINED": {},
	} {
		_, err := Tensor(p)
		require.ErrorContains(t, err, want)
	}
	got, err := Tensor(&onnxpb.TensorProto{DataType: ptr(int32(onnxpb.TensorProto_INT8)), Dims: []int64{2}, Int32Data: []int32{-3, 4}})
	require.NoError(t, err)
	require.Equal(t, []float64{-3, 4}, got.Float64s())
}

// A model of one node, run on the CPU.
func ExampleImport() {
	c := &Case{
		Model:   model("Softmax", nil, []string{"x"}, []string{"y"}, 4),
		Inputs:  map[string]*tensor.Tensor{"x": tensor.Of(tensor.Shape{4}, float32(0), 0, 0, 0)},
		Outputs: []Named{{Name: "y"}},
	}
	out, err := c.Run(kernels.NewCPU(backend.Options{}))
	fmt.Println(out[0].Float64s(), err)
	// Output: [0.25 0.25 0.25 0.25] <nil>
}

// FuzzTensor: no bytes make Tensor fail other than by an error.
func FuzzTensor(f *testing.F) {
	for _, p := range []*onnxpb.TensorProto{
		{DataType: ptr(int32(onnxpb.TensorProto_FLOAT)), Dims: []int64{1}, RawData: make([]byte, 4)},
		{DataType: ptr(int32(onnxpb.TensorProto_BOOL)), Dims: []int64{2}, Int32Data: []int32{0, 1}},
		{DataType: ptr(int32(onnxpb.TensorProto_INT64)), Dims: []int64{0, 1 << 62}},
	} {
		raw, err := proto.Marshal(p)
		require.NoError(f, err)
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		p := &onnxpb.TensorProto{}
		if proto.Unmarshal(raw, p) != nil {
			return
		}
		if got, err := Tensor(p); err == nil {
			require.Len(t, got.Bytes(), got.Size()*got.DType.Size())
		}
	})
}
