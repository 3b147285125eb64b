package onnx

import (
	"math"

	"google.golang.org/protobuf/proto"

	"ringo/export/onnxpb"
	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

// fill is a constant where it is a scalar, else ConstantOfShape.
func fill(n *node) []string {
	a := attributes[graph.Fill](n.Node)
	if len(a.Type.Shape) == 0 {
		return one(n.scalar(a.Value, a.Type.DType))
	}
	raw := make([]byte, a.Type.DType.Size())
	tensor.StoreFloat64(raw, a.Type.DType, []float64{a.Value})
	value := &onnxpb.AttributeProto{Name: proto.String("value"), Type: onnxpb.AttributeProto_TENSOR.Enum(),
		T: &onnxpb.TensorProto{DataType: proto.Int32(int32(n.dtype(a.Type.DType, n.Name))), Dims: []int64{1}, RawData: raw}}
	return one(n.op("ConstantOfShape", []string{n.ints(n.dims(n.Out[0]))}, value))
}

func reshape(n *node) []string {
	return one(n.op("Reshape", []string{n.in(0), n.shapeLike(n.dims(n.In[0]), n.dims(n.Out[0]))}))
}

// reshapeTo is Reshape of x, whose dims are `from`.
func (n *node) reshapeTo(x string, from, to []Dim) string {
	return n.op("Reshape", []string{x, n.shapeLike(from, to)})
}

func expand(n *node) []string {
	return one(n.op("Expand", []string{n.in(0), n.ints(n.dims(n.Out[0]))}))
}

func permute(n *node) []string {
	return one(n.perm(n.in(0), attributes[graph.Transpose](n.Node).Perm...))
}

func (n *node) perm(x string, perm ...int) string {
	return n.op("Transpose", []string{x}, attrInts("perm", perm))
}

// swapLast is the permutation that transposes the last two of rank axes.
func swapLast(rank int) []int {
	p := make([]int, rank)
	for i := range p {
		p[i] = i
	}
	p[rank-2], p[rank-1] = rank-1, rank-2
	return p
}

// slice names only the axes that it cuts.
func slice(n *node) []string {
	get := func(f func(graph.Slice) []int) []Dim {
		return n.list(func(m *graph.Node) []int { return f(attributes[graph.Slice](m)) })
	}
	start := get(func(s graph.Slice) []int { return s.Start })
	end := get(func(s graph.Slice) []int { return s.End })
	step := attributes[graph.Slice](n.Node).Step
	var starts, ends []Dim
	var axes, steps []int
	for i, d := range n.dims(n.In[0]) {
		if start[i] == (Dim{}) && end[i] == d && step[i] == 1 {
			continue
		}
		if step[i] < 0 && end[i].N < 0 { // −1 is before the first element; ONNX would count it from the end
			end[i].N = math.MinInt64
		}
		starts, ends = append(starts, start[i]), append(ends, end[i])
		axes, steps = append(axes, i), append(steps, step[i])
	}
	if len(axes) == 0 {
		return one(n.in(0))
	}
	return one(n.op("Slice", []string{n.in(0), n.ints(starts), n.ints(ends), n.constInts(axes), n.constInts(steps)}))
}

func concat(n *node) []string {
	in := make([]string, len(n.In))
	for i := range in {
		in[i] = n.in(i)
	}
	return one(n.op("Concat", in, attrInt("axis", attributes[graph.Concat](n.Node).Axis)))
}

// pad: a mode of "" is constant.
func pad(n *node) []string {
	a := attributes[graph.Pad](n.Node)
	mode := a.Mode
	if mode == "" {
		mode = "constant"
	}
	pads := n.list(func(m *graph.Node) []int {
		p := attributes[graph.Pad](m)
		return append(append([]int{}, p.Before...), p.After...)
	})
	in := []string{n.in(0), n.ints(pads)}
	if mode == "constant" {
		in = append(in, n.scalar(a.Value, n.In[0].DType))
	}
	return one(n.op("Pad", in, attrString("mode", mode)))
}
