package onnx

import (
	"math"

	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

func unary(kind string) mapper {
	return func(n *node) []string { return one(n.op(kind, []string{n.in(0)})) }
}

func pairwise(kind string) mapper {
	return func(n *node) []string { return one(n.op(kind, []string{n.in(0), n.in(1)})) }
}

// 1/√x
func rsqrt(n *node) []string {
	return one(n.op("Reciprocal", []string{n.op("Sqrt", []string{n.in(0)})}))
}

func square(n *node) []string { return one(n.op("Mul", []string{n.in(0), n.in(0)})) }

func silu(n *node) []string { return one(n.swish(n.in(0))) }

// swish is x·σ(x).
func (n *node) swish(x string) string {
	return n.op("Mul", []string{x, n.op("Sigmoid", []string{x})})
}

func gelu(n *node) []string { return one(n.gelu(n.in(0), attributes[graph.Gelu](n.Node).Tanh)) }

func (n *node) gelu(x string, tanh bool) string {
	form := "none"
	if tanh {
		form = "tanh"
	}
	return n.op("Gelu", []string{x}, attrString("approximate", form))
}

// swiglu: the gate and up halves of the last axis → silu(gate)·up.
func swiglu(n *node) []string {
	axis := len(n.In[0].Shape) - 1
	half := n.emitN(n.Name, "Split", 2, []string{n.in(0)}, attrInt("axis", axis), attrInt("num_outputs", 2))
	return one(n.op("Mul", []string{n.swish(half[0]), half[1]}))
}

// clip leaves out a bound that is infinite.
func clip(n *node) []string {
	a := attributes[graph.Clip](n.Node)
	in := []string{n.in(0), "", ""}
	for i, bound := range []float64{a.Lo, a.Hi} {
		if !math.IsInf(bound, 0) {
			in[1+i] = n.scalar(bound, n.In[0].DType)
		}
	}
	return one(n.op("Clip", in))
}

func cast(n *node) []string { return one(n.cast(n.in(0), attributes[graph.Cast](n.Node).To)) }

func (n *node) cast(x string, to tensor.DType) string {
	return n.op("Cast", []string{x}, attrInt("to", int(n.dtype(to, n.Name))))
}

func notEqual(n *node) []string {
	return one(n.op("Not", []string{n.op("Equal", []string{n.in(0), n.in(1)})}))
}

func where(n *node) []string { return one(n.op("Where", []string{n.in(0), n.in(1), n.in(2)})) }

// activate applies an activation that a product or convolution carries.
func (n *node) activate(x, act string) string {
	switch act {
	case "":
		return x
	case "relu":
		return n.op("Relu", []string{x})
	case "silu":
		return n.swish(x)
	case "gelu", "gelu_tanh":
		return n.gelu(x, act == "gelu_tanh")
	}
	n.fail("activation %q has no ONNX form", act)
	return ""
}
