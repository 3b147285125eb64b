package onnxtest

import (
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"

	"google.golang.org/protobuf/proto"

	"ringo/export/onnxpb"
	"ringo/runtime"
	"ringo/runtime/backend"
	"ringo/runtime/graph"
	"ringo/runtime/plan"
	"ringo/runtime/tensor"
)

// Case is one node test: a model, the contents of its inputs, and the outputs it must give.
type Case struct {
	Model   *onnxpb.ModelProto
	Inputs  map[string]*tensor.Tensor
	Outputs []Named
}

// Named is an expected output.
type Named struct {
	Name  string
	Value *tensor.Tensor
}

// ReadModel reads dir/model.onnx.
func ReadModel(dir string) (*onnxpb.ModelProto, error) {
	m := &onnxpb.ModelProto{}
	return m, read(filepath.Join(dir, "model.onnx"), m)
}

// Read reads the model and the first data set of the test in dir. It returns an error for element types that
// ringo does not have.
func Read(dir string) (*Case, error) {
	m, err := ReadModel(dir)
	if err != nil {
		return nil, err
	}
	c := &Case{Model: m, Inputs: map[string]*tensor.Tensor{}}
	for i, in := range m.GetGraph().GetInput() {
		t, err := readTensor(dir, "input", i)
		if err != nil {
			return nil, err
		}
		c.Inputs[in.GetName()] = t
	}
	for i, out := range m.GetGraph().GetOutput() {
		t, err := readTensor(dir, "output", i)
		if err != nil {
			return nil, err
		}
		c.Outputs = append(c.Outputs, Named{out.GetName(), t})
	}
	return c, nil
}

func readTensor(dir, kind string, i int) (*tensor.Tensor, error) {
	path := filepath.Join(dir, "test_data_set_0", fmt.Sprintf("%s_%d.pb", kind, i))
	p := &onnxpb.TensorProto{}
	if err := read(path, p); err != nil {
		return nil, err
	}
	t, err := Tensor(p)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return t, nil
}

// read decodes a protobuf file of at most maxTensorBytes.
func read(path string, m proto.Message) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxTensorBytes+1))
	if err == nil && len(raw) > maxTensorBytes {
		err = fmt.Errorf("more than %d bytes", maxTensorBytes)
	}
	if err == nil {
		err = proto.Unmarshal(raw, m)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// Run compiles the case for a backend, runs it and returns the outputs in the order of c.Outputs.
func (c *Case) Run(b backend.Backend) (out []*tensor.Tensor, err error) {
	store := b.NewStore()
	defer store.Close()
	exec, err := runtime.Compile(b, store, func(g *graph.Graph) { Import(g, c.Model, c.Inputs) }, plan.Options{})
	if err != nil {
		return nil, err
	}
	defer exec.Close()
	p := exec.Program()
	for name := range p.Inputs { // an input that only decided shapes is not there
		if err := exec.Feed(name, c.Inputs[name].Bytes()); err != nil {
			return nil, err
		}
	}
	if err := exec.Run(0, len(p.Instrs)); err != nil {
		return nil, err
	}
	for _, o := range c.Outputs {
		ref := p.Outputs[o.Name]
		t := tensor.New(ref.Type.DType, ref.Type.Shape...)
		if err := exec.Fetch(o.Name, t.Bytes()); err != nil {
			return nil, err
		}
		out = append(out, t)
	}
	return out, nil
}

// exact lists the operators that move, choose, compare or round elements: their results must be equal. So must those of
// one correctly rounded operation.
var exact = map[string]bool{
	"Add": true, "Sub": true, "Mul": true, "Div": true, "Sqrt": true, "Relu": true, "Clip": true, "Cast": true, "Where": true,
	"Dropout": true, "Reshape": true, "Flatten": true, "Transpose": true, "Slice": true, "Concat": true, "Expand": true,
	"Trilu": true, "Gather": true, "GatherElements": true, "GatherND": true, "OneHot": true, "Scatter": true,
	"ScatterElements": true, "ScatterND": true, "ReduceMax": true, "ArgMax": true, "TopK": true, "MaxPool": true,
	"GlobalMaxPool": true, "QuantizeLinear": true, "DynamicQuantizeLinear": true, "QLinearMatMul": true, "QLinearConv": true,
	"MatMulInteger": true, "ConvInteger": true,
}

// tolerance is the relative error allowed to an operator's results of an element type; ONNX's own runner allows
// 1e-3 throughout. Integers and Bool must be equal.
func tolerance(op string, d tensor.DType) float64 {
	if exact[op] {
		return 0
	}
	switch d {
	case tensor.F64:
		return 1e-12
	case tensor.F32:
		// 32 units in the last place: the expected values are NumPy's, whose sums in f32 and exponentials have
		// errors of a few units of their own.
		return 1.0 / (1 << 18)
	case tensor.F16:
		return 1.0 / (1 << 10) // one unit: NumPy rounds intermediate results too
	case tensor.BF16:
		return 1.0 / (1 << 7) // one unit
	}
	return 0
}

// Compare returns an error that names the first element where got differs from want:
// |got − want| ≤ tol·|want| + tol/10·max|want|, equality for tol 0. The second term is for sums whose terms cancel: their error goes
// with the terms, not with the result. NaN equals NaN, and infinities must match.
func Compare(got, want *tensor.Tensor, tol float64) error {
	if got.DType != want.DType || !got.Shape.Equal(want.Shape) {
		return fmt.Errorf("got %v, expected %v", got, want)
	}
	if want.DType == tensor.I64 { // beyond 2^53, float64 does not hold them
		w := tensor.Data[int64](want)
		for i, v := range tensor.Data[int64](got) {
			if v != w[i] {
				return fmt.Errorf("element %d of %v is %d, expected %d", i, want, v, w[i])
			}
		}
		return nil
	}
	g, w := got.Float64s(), want.Float64s()
	largest := 0.0
	for _, v := range w {
		if !math.IsInf(v, 0) && !math.IsNaN(v) {
			largest = max(largest, math.Abs(v))
		}
	}
	for i := range w {
		same := g[i] == w[i] || math.IsNaN(g[i]) && math.IsNaN(w[i])
		if !same && !(math.Abs(g[i]-w[i]) <= tol*math.Abs(w[i])+tol/10*largest && !math.IsInf(w[i], 0)) {
			return fmt.Errorf("element %d of %v is %v, expected %v: off by %.3g", i, want, g[i], w[i], math.Abs(g[i]-w[i]))
		}
	}
	return nil
}
