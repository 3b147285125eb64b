package onnx

import "ringo/runtime/graph"

// gather is Gather or GatherElements; ONNX too counts negative indices from the end.
func gather(kind string) mapper {
	return func(n *node) []string {
		return one(n.op(kind, []string{n.in(0), n.in(1)}, attrInt("axis", attributes[graph.Gather](n.Node).Axis)))
	}
}

// embedding: an id outside the table gives NaN in ringo; ONNX leaves it open, ONNX Runtime refuses it.
func embedding(n *node) []string {
	return one(n.op("Gather", []string{n.in(0), n.in(1)}, attrInt("axis", 0)))
}

func scatter(n *node) []string {
	a := attributes[graph.Scatter](n.Node)
	reduction := a.Mode
	switch a.Mode {
	case "":
		reduction = "add"
	case "set":
		reduction = "none"
	}
	return one(n.op("ScatterElements", []string{n.in(0), n.in(1), n.in(2)}, attrInt("axis", a.Axis), attrString("reduction", reduction)))
}
