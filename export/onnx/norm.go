package onnx

import (
	"slices"

	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

// The statistics that norms hand to their gradients are left out.

func layerNorm(n *node) []string {
	return one(n.layerNorm(n.in(0), n.in(1), n.in(2)))
}

func addLayerNorm(n *node) []string {
	sum := n.op("Add", []string{n.in(0), n.in(1)})
	return []string{sum, n.layerNorm(sum, n.in(2), n.in(3))}
}

func (n *node) layerNorm(x, gain, bias string) string {
	return n.op("LayerNormalization", []string{x, gain, bias}, attrInt("axis", -1), attrFloat("epsilon", attributes[graph.Norm](n.Node).Eps))
}

func rmsNorm(n *node) []string { return one(n.rmsNorm(n.in(0), n.in(1))) }

func addRMSNorm(n *node) []string {
	sum := n.op("Add", []string{n.in(0), n.in(1)})
	return []string{sum, n.rmsNorm(sum, n.in(2))}
}

// rmsNorm is x/√(mean(x²) + eps)·gain, in the nodes that ONNX Runtime knows to fuse; RMSNormalization itself came
// with opset 23.
func (n *node) rmsNorm(x, gain string) string {
	square := n.op("Pow", []string{x, n.scalar(2, tensor.F32)})
	mean := n.op("ReduceMean", []string{square, n.constInts([]int{-1})}, attrInt("keepdims", 1))
	root := n.op("Sqrt", []string{n.op("Add", []string{mean, n.scalar(attributes[graph.Norm](n.Node).Eps, n.In[0].DType)})})
	return n.op("Mul", []string{n.op("Div", []string{x, root}), gain})
}

// batchNorm: x, gain, bias, mean, variance.
func batchNorm(n *node) []string {
	in := []string{n.in(0), n.in(1), n.in(2), n.in(3), n.in(4)}
	return one(n.op("BatchNormalization", in, attrFloat("epsilon", attributes[graph.Norm](n.Node).Eps)))
}

// groupNorm: each group is one instance; gain and bias are per channel. (GroupNormalization has a gain per group
// before opset 21.)
func groupNorm(n *node) []string {
	a, shape := attributes[graph.GroupNorm](n.Node), n.dims(n.In[0])
	groups := []Dim{shape[0], {N: a.Groups}, {N: n.In[0].Shape[1:].Size() / a.Groups}}
	unit := make([]float64, a.Groups)
	zeros := n.floats(tensor.Shape{a.Groups}, slices.Clone(unit))
	for i := range unit {
		unit[i] = 1
	}
	x := n.reshapeTo(n.in(0), shape, groups)
	x = n.op("InstanceNormalization", []string{x, n.floats(tensor.Shape{a.Groups}, unit), zeros}, attrFloat("epsilon", a.Eps))
	x = n.reshapeTo(x, groups, shape)
	channel := make([]Dim, len(shape)-1) // (C,1,…) lies along axis 1 of x
	for i := range channel {
		channel[i] = Dim{N: 1}
	}
	channel[0] = shape[1]
	vector := func(i int) string { return n.reshapeTo(n.in(i), shape[1:2], channel) }
	return one(n.op("Add", []string{n.op("Mul", []string{x, vector(1)}), vector(2)}))
}
