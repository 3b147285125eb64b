package onnxtest

import (
	"math"

	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

func unaryOp(op string) builder {
	return func(n *node) []*graph.Value { return n.ApplyN(op, nil, n.in[0]) }
}

func binaryOp(op string) builder {
	return func(n *node) []*graph.Value { return n.ApplyN(op, nil, n.in[0], n.in[1]) }
}

func gelu(n *node) []*graph.Value {
	return one(n.Gelu(n.in[0], n.string("approximate", "none") == "tanh"))
}

// y = x·σ(αx); α = 1 is SiLU.
func swish(n *node) []*graph.Value {
	x, alpha := n.in[0], n.float("alpha", 1)
	if alpha == 1 {
		return one(n.Silu(x))
	}
	return one(n.Mul(x, n.Sigmoid(n.Scale(x, alpha))))
}

// y = x for x ≥ 0, else αx.
func leakyRelu(n *node) []*graph.Value {
	x := n.in[0]
	return one(n.Where(n.positive(x), x, n.Scale(x, n.float("alpha", 0.01))))
}

// y = x for x ≥ 0, else α(e^x − 1). The exponent is cut at 0 so that the branch not taken stays finite.
func elu(n *node) []*graph.Value {
	x := n.in[0]
	low := n.AddScalar(n.Exp(n.Clip(x, math.Inf(-1), 0)), -1)
	return one(n.Where(n.positive(x), x, n.Scale(low, n.float("alpha", 1))))
}

// y = x·clip(x/6 + ½, 0, 1).
func hardSwish(n *node) []*graph.Value {
	x := n.in[0]
	return one(n.Mul(x, n.Clip(n.AddScalar(n.Scale(x, 1.0/6), 0.5), 0, 1)))
}

func (n *node) positive(x *graph.Value) *graph.Value {
	return n.Compare("ge", x, n.Scalar(0, x.DType))
}

func clip(n *node) []*graph.Value {
	return one(n.Clip(n.in[0], n.constFloat(1, math.Inf(-1)), n.constFloat(2, math.Inf(1))))
}

func cast(n *node) []*graph.Value {
	n.bool("saturate", true) // for 8-bit floating point only
	dt, err := DType(int32(n.int("to", 0)))
	if err != nil {
		n.fail("%v", err)
	}
	return one(n.Cast(n.in[0], dt))
}

func where(n *node) []*graph.Value { return one(n.Where(n.in[0], n.in[1], n.in[2])) }

// dropout passes x on, as inference does: y = x, mask all true. With training_mode set that is right for a ratio
// of 0 alone; other ratios need the random numbers of a training run.
func dropout(n *node) []*graph.Value {
	n.int("seed", 0)
	if n.constFloat(2, 0) != 0 && n.constFloat(1, 0.5) != 0 {
		n.fail("training mode with ratio %g draws random numbers", n.constFloat(1, 0.5))
	}
	x := n.in[0]
	return []*graph.Value{x, n.Fill(1, tensor.Bool, x.Shape...)}
}
