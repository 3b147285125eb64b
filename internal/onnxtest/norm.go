package onnxtest

import (
	"math"

	"ringo/runtime/graph"
)

// batchNorm: in training, running ← momentum·running + (1−momentum)·batch, with the biased variance.
func batchNorm(n *node) []*graph.Value {
	eps, momentum, train := n.float("epsilon", 1e-5), n.float("momentum", 0.9), n.bool("training_mode", false)
	x, gain, bias, mean, variance := n.in[0], n.in[1], n.in[2], n.in[3], n.in[4]
	if !train {
		return n.ApplyN("batchnorm_infer", graph.Norm{Eps: eps}, x, gain, bias, mean, variance)
	}
	out := n.ApplyN("batchnorm", graph.Norm{Eps: eps}, x, gain, bias)
	running := func(old, batch *graph.Value) *graph.Value {
		return n.Add(n.Scale(old, momentum), n.Scale(batch, 1-momentum))
	}
	return []*graph.Value{out[0], running(mean, out[1]), running(variance, out[2])}
}

// rows cuts x before axis: it returns x as a matrix whose rows are to be normalised, a function that does the
// same to a gain or bias that broadcasts to them, and the shape of one number per row.
func (n *node) rows() (x *graph.Value, vector func(*graph.Value) *graph.Value, stats []int) {
	full := n.in[0].Shape
	axis := n.axis(n.int("axis", -1), len(full))
	inner := full[axis:]
	vector = func(v *graph.Value) *graph.Value {
		return n.Reshape(n.Broadcast(v, inner...), inner.Size())
	}
	x = n.Reshape(n.in[0], full[:axis].Size(), inner.Size())
	return x, vector, join(full[:axis], ones(len(inner)))
}

// layerNorm normalises over the axes from axis on; outputs y, mean and 1/standard deviation.
func layerNorm(n *node) []*graph.Value {
	n.int("stash_type", 1) // statistics in f32, as ringo's
	x, vector, stats := n.rows()
	bias := n.Fill(0, x.DType, x.Shape[1])
	if b := n.input(2); b != nil {
		bias = vector(b)
	}
	out := n.ApplyN("layernorm", graph.Norm{Eps: n.float("epsilon", 1e-5)}, x, vector(n.in[1]), bias)
	return []*graph.Value{
		n.Reshape(out[0], n.in[0].Shape...), n.Reshape(out[1], stats...), n.Reshape(out[2], stats...),
	}
}

func rmsNorm(n *node) []*graph.Value {
	n.int("stash_type", 1)
	x, vector, _ := n.rows()
	y := n.RMSNorm(x, vector(n.in[1]), n.float("epsilon", 1e-5))
	return one(n.Reshape(y, n.in[0].Shape...))
}

// groupNorm: gain and bias are per channel since opset 21; before, they were per group.
func groupNorm(n *node) []*graph.Value {
	n.int("stash_type", 1)
	if n.opset < 21 {
		n.fail("opset %d has a gain per group: expected opset 21 or later", n.opset)
	}
	return one(n.GroupNorm(n.in[0], n.in[1], n.in[2], n.int("num_groups", 1), n.float("epsilon", 1e-5)))
}

// instanceNorm is group norm with each channel a group.
func instanceNorm(n *node) []*graph.Value {
	x := n.in[0]
	return one(n.GroupNorm(x, n.in[1], n.in[2], x.Shape[1], n.float("epsilon", 1e-5)))
}

// y = (x − mean) / (√(mean x² − mean²) + 1e-9); the last term is in the operator's definition.
func meanVarianceNorm(n *node) []*graph.Value {
	x, axes := n.in[0], n.ints("axes", []int{0, 2, 3})
	mean := n.Mean(x, true, axes...)
	variance := n.Sub(n.Mean(n.Square(x), true, axes...), n.Square(mean))
	return one(n.Div(n.Sub(x, mean), n.AddScalar(n.Sqrt(variance), 1e-9)))
}

// y = x/‖x‖_p along an axis, NaN where the norm is 0, as ONNX's tests have it.
func lpNorm(n *node) []*graph.Value {
	x, axis, norm := n.in[0], n.int("axis", -1), (*graph.Value)(nil)
	switch p := n.int("p", 2); p {
	case 1:
		norm = n.Sum(n.Abs(x), true, axis)
	case 2:
		norm = n.Sqrt(n.Sum(n.Square(x), true, axis))
	default:
		n.fail("norm %d, expected 1 or 2", p)
	}
	return one(n.Div(x, norm))
}

// y = x / (bias + α/size·Σ x²)^β, the sum over the size channels around x's own, c − ⌊(size−1)/2⌋ first: an average
// over windows of channels that counts the padding, with the pixels as the other axis.
func localResponseNorm(n *node) []*graph.Value {
	x, size := n.in[0], n.int("size", 1)
	alpha, beta, bias := n.float("alpha", 1e-4), n.float("beta", 0.75), n.float("bias", 1)
	before := (size - 1) / 2
	planes := n.Reshape(n.Square(x), x.Shape[0], 1, x.Shape[1], -1)
	mean := n.AvgPool2D(planes, graph.Pool2D{Kernel: [2]int{size, 1}, Pad: [4]int{before, 0, size - 1 - before, 0}, CountPad: true})
	below := n.AddScalar(n.Scale(n.Reshape(mean, x.Shape...), alpha), bias)
	return one(n.Mul(x, n.Pow(below, n.Scalar(-beta, x.DType))))
}

// negInf is what a masked score becomes: e^−∞ = 0.
func (n *node) negInf(x *graph.Value) *graph.Value { return n.Scalar(math.Inf(-1), x.DType) }
