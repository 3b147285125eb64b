package onnx

import (
	"ringo/export/onnxpb"
	"ringo/runtime/graph"
)

func conv2d(n *node) []string {
	a := attributes[graph.Conv2D](n.Node).Norm()
	in := []string{n.in(0), n.in(1)}
	if a.Bias {
		in = append(in, n.in(2))
	}
	y := n.op("Conv", in, attrInts("kernel_shape", n.In[1].Shape[2:]), attrInts("strides", a.Stride[:]), attrInts("dilations", a.Dilation[:]),
		attrInts("pads", a.Pad[:]), attrInt("group", a.Groups))
	return one(n.activate(y, a.Act))
}

// window lists what both poolings have.
func window(a graph.Pool2D) []*onnxpb.AttributeProto {
	a = a.Norm()
	return []*onnxpb.AttributeProto{attrInts("kernel_shape", a.Kernel[:]), attrInts("strides", a.Stride[:]), attrInts("dilations", a.Dilation[:]),
		attrInts("pads", a.Pad[:]), attrInt("ceil_mode", oneIf(a.Ceil))}
}

// maxPool leaves out the indices, which only its gradient reads.
func maxPool(n *node) []string {
	return one(n.op("MaxPool", []string{n.in(0)}, window(attributes[graph.Pool2D](n.Node))...))
}

func averagePool(n *node) []string {
	a := attributes[graph.Pool2D](n.Node)
	return one(n.op("AveragePool", []string{n.in(0)}, append(window(a), attrInt("count_include_pad", oneIf(a.CountPad)))...))
}
