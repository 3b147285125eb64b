package onnx

import "ringo/runtime/graph"

// quantize is QuantizeLinear or DequantizeLinear: x, scale, zero point.
func quantize(kind string) mapper {
	return func(n *node) []string {
		a := attributes[graph.Quantize](n.Node)
		if a.Block > 0 {
			n.fail("scales per block of %d have no form before opset 21, this file has %d", a.Block, Opset)
		}
		return one(n.op(kind, []string{n.in(0), n.in(1), n.in(2)}, attrInt("axis", a.Axis)))
	}
}

// dynamicQuantize: x → q, scale, zero point, from the range of x when the model runs.
func dynamicQuantize(n *node) []string {
	return n.emitN(n.Name, "DynamicQuantizeLinear", 3, []string{n.in(0)})
}
