package models

import "ringo/runtime/graph"

// Quantization-aware training (Jacob et al. 2018, arXiv 1712.05877): the inputs and weights of every product and
// convolution are rounded to 8 bits in the forward pass, and gradients go straight through, so that weights settle
// where int8 loses little. Ranges of inputs are those of the batch while training; their running averages, states
// input_min and input_max of the layer, hold in evaluation and become the ranges of the export. Weights are rounded per
// output channel to their largest magnitude; batch norm, folded into a convolution, scales a channel's weights and
// their step alike, so folding first or last gives the same rounding. Not rounded in training: the results of convolutions
// that are added to a shortcut, whose ranges the export calibrates.

// rangeMomentum is the weight of a batch in the running averages: some tens of batches count.
const rangeMomentum = 0.05

// LinearT, Linear and Conv2D stand before the graph's own.

func (n *net) LinearT(x, w, bias *graph.Value) *graph.Value {
	return n.Graph.LinearT(n.fakeInput(x), n.fakeWeight(w, 0), bias)
}

func (n *net) Linear(x, w, bias *graph.Value) *graph.Value {
	return n.Graph.Linear(n.fakeInput(x), n.fakeWeight(w, 1), bias)
}

func (n *net) Conv2D(x, w, bias *graph.Value, a graph.Conv2D) *graph.Value {
	return n.Graph.Conv2D(n.fakeInput(x), n.fakeWeight(w, 0), bias, a)
}

// fakeInput rounds an activation, per tensor; without QAT it is x. Layers that read one value share its rounding and its
// range, as in the export, where a tensor is quantized once; the states are those of the first of them.
func (n *net) fakeInput(x *graph.Value) *graph.Value {
	if !n.qat {
		return x
	}
	if n.rounded[x] == nil {
		n.rounded[x] = n.fake(x)
	}
	return n.rounded[x]
}

// asRounded is x as the layers before have rounded it, or x itself: what a shortcut reads, as it does in the export.
func (n *net) asRounded(x *graph.Value) *graph.Value {
	if y := n.rounded[x]; y != nil {
		return y
	}
	return x
}

// fake adds the states of a range and the rounding to it.
func (n *net) fake(x *graph.Value) *graph.Value {
	lo := n.State("input_min", n.dt, graph.Constant(0), 1)
	hi := n.State("input_max", n.dt, graph.Constant(0), 1)
	if n.training {
		least, most := n.Reshape(n.Min(x, false), 1), n.Reshape(n.Max(x, false), 1)
		n.Track(lo, least, rangeMomentum)
		n.Track(hi, most, rangeMomentum)
		lo, hi = least, most
	}
	return n.Apply("fake_quantize", graph.FakeQuantize{}, x, lo, hi)
}

// fakeWeight rounds a weight per slice along axis; without QAT it is w.
func (n *net) fakeWeight(w *graph.Value, axis int) *graph.Value {
	if !n.qat {
		return w
	}
	var others []int
	for i := range w.Shape {
		if i != axis {
			others = append(others, i)
		}
	}
	most := n.Max(n.Abs(w), false, others...)
	return n.Apply("fake_quantize", graph.FakeQuantize{Axis: axis, Symmetric: true}, w, n.Neg(most), most)
}
