package onnxtest

import "ringo/runtime/graph"

// axes returns the axes to reduce, an input since opset 13 or 18 and an attribute before, and whether the node
// leaves its input alone because there are none.
func (n *node) axes() (axes []int, noop bool) {
	axes = n.constInts(1, n.ints("axes", nil))
	return axes, n.bool("noop_with_empty_axes", false) && len(axes) == 0
}

func reduce(op string) builder {
	return func(n *node) []*graph.Value {
		axes, noop := n.axes()
		keep := n.bool("keepdims", true)
		if noop {
			return one(n.in[0])
		}
		return n.ApplyN(op, graph.Reduce{Axes: axes, Keep: keep}, n.in[0])
	}
}

// Σ x². Without axes to reduce, each element is a sum of its own.
func reduceSumSquare(n *node) []*graph.Value {
	axes, noop := n.axes()
	keep, square := n.bool("keepdims", true), n.Square(n.in[0])
	if noop {
		return one(square)
	}
	return one(n.Sum(square, keep, axes...))
}

func argMax(n *node) []*graph.Value {
	a := graph.ArgMax{Axis: n.int("axis", 0), Keep: n.bool("keepdims", true), Last: n.bool("select_last_index", false)}
	return n.ApplyN("argmax", a, n.in[0])
}

func topK(n *node) []*graph.Value {
	n.bool("sorted", true) // ringo sorts always
	a := graph.TopK{K: int(n.constFloat(1, 0)), Axis: n.int("axis", -1), Smallest: !n.bool("largest", true)}
	return n.ApplyN("topk", a, n.in[0])
}
