package onnxtest

import (
	"ringo/runtime/graph"
)

// softmax: since opset 13 it works along one axis; before, it flattened to a matrix first.
func softmax(op string) builder {
	return func(n *node) []*graph.Value {
		if n.opset < 13 {
			n.fail("opset %d flattens its input: expected opset 13 or later", n.opset)
		}
		return n.ApplyN(op, graph.Softmax{Axis: n.int("axis", -1)}, n.in[0])
	}
}

// crossEntropy: scores (N,C,d…), labels (N,d…) [, weights (C)] → loss [, log-probabilities]. The mean without
// weights is ringo's own fused op; the rest goes through the log-probabilities.
func crossEntropy(n *node) []*graph.Value {
	scores := n.in[0]
	logp := n.LogSoftmax(scores, 1)
	if n.string("reduction", "mean") != "mean" || n.input(2) != nil {
		return []*graph.Value{n.pickLoss(logp), logp}
	}
	c := scores.Shape[1]
	rows := n.Reshape(n.Transpose(n.Reshape(scores, scores.Shape[0], c, -1), 0, 2, 1), -1, c)
	ignore := n.attr("ignore_index")
	a := graph.CrossEntropy{HasIgnore: ignore != nil, Ignore: int(ignore.GetI())}
	return []*graph.Value{n.CrossEntropy(rows, n.in[1], a), logp}
}

func nllLoss(n *node) []*graph.Value { return one(n.pickLoss(n.in[0])) }

// pickLoss reduces, over the labels t that are not ignored, lossᵢ = −w[t]·logp[i,t,…]: "none" gives every loss,
// "sum" Σ loss, "mean" Σ loss / Σ w[t].
func (n *node) pickLoss(logp *graph.Value) *graph.Value {
	t, dt := n.in[1], logp.DType
	weight := n.Fill(1, dt, t.Shape...)
	ignore := n.attr("ignore_index")
	counts := (*graph.Value)(nil)
	if ignore != nil { // an ignored label may lie outside the classes: class 0 stands in for it
		i := n.Scalar(float64(ignore.GetI()), t.DType)
		counts = n.Compare("ne", t, i)
		t = n.Where(counts, t, n.Scalar(0, t.DType))
	}
	if w := n.input(2); w != nil {
		weight = n.Gather(w, t, 0)
	}
	if counts != nil {
		weight = n.Where(counts, weight, n.Scalar(0, dt))
	}
	column := n.Reshape(t, join(t.Shape[:1], ones(1), t.Shape[1:])...)
	picked := n.Reshape(n.Apply("gather_elements", graph.Gather{Axis: 1}, logp, column), t.Shape...)
	loss := n.Neg(n.Mul(weight, picked))
	switch r := n.string("reduction", "mean"); r {
	case "none":
		return loss
	case "sum":
		return n.Sum(loss, false)
	case "mean":
		return n.Div(n.Sum(loss, false), n.Sum(weight, false))
	default:
		n.fail("reduction %q: expected none, sum or mean", r)
		return nil
	}
}
