package onnx

import "ringo/runtime/graph"

// reduce: without axes all are reduced, in ONNX too.
func reduce(kind string) mapper {
	return func(n *node) []string {
		a := attributes[graph.Reduce](n.Node)
		in := []string{n.in(0)}
		if len(a.Axes) > 0 {
			in = append(in, n.constInts(a.Axes))
		}
		return one(n.op(kind, in, attrInt("keepdims", oneIf(a.Keep))))
	}
}

func argmax(n *node) []string {
	a := attributes[graph.ArgMax](n.Node)
	return one(n.op("ArgMax", []string{n.in(0)}, attrInt("axis", a.Axis), attrInt("keepdims", oneIf(a.Keep)), attrInt("select_last_index", oneIf(a.Last))))
}

func topk(n *node) []string {
	a := attributes[graph.TopK](n.Node)
	return n.emitN(n.Name, "TopK", 2, []string{n.in(0), n.constInts([]int{a.K})}, attrInt("axis", a.Axis), attrInt("largest", oneIf(!a.Smallest)), attrInt("sorted", 1))
}

func softmax(kind string) mapper {
	return func(n *node) []string {
		return one(n.op(kind, []string{n.in(0)}, attrInt("axis", attributes[graph.Softmax](n.Node).Axis)))
	}
}

func oneIf(b bool) int {
	if b {
		return 1
	}
	return 0
}
