package graph

import (
	"fmt"

	"ringo/runtime/tensor"
)

// CrossEntropy is the attribute struct of the cross-entropy ops.
type CrossEntropy struct {
	// Smoothing s ∈ [0,1) mixes the target with the uniform distribution: (1−s)·onehot + s/V.
	Smoothing float64
	// Ignore, where HasIgnore is set, is a target whose rows count in neither loss nor gradient.
	Ignore    int
	HasIgnore bool
	// Classes, where not 0, says that only the first columns of the logits are classes: V above and below. Those behind fill
	// rows up to a length that a device is fast with; they count in nothing and their gradient is 0.
	Classes int
	// First and Total, where Total is not 0, say that the logits are the rows from First on of a matrix of Total rows, one per target:
	// the loss is what these rows add to the mean over all of them.
	First, Total int
	// Seed is d(final)/d(loss), used by "cross_entropy_fused" alone.
	Seed float64
}

// Of returns how many classes logits of some columns have.
func (a CrossEntropy) Of(columns int) int {
	if a.Classes > 0 {
		return a.Classes
	}
	return columns
}

// Targets returns how many targets there are for logits of some rows.
func (a CrossEntropy) Targets(rows int) int {
	if a.Total > 0 {
		return a.Total
	}
	return rows
}

// crossEntropyTypes checks logits (N,V) and targets (N, or Total), inputs x and x+1, and returns N.
func crossEntropyTypes(n *Node, x int) (int, error) {
	l, t := n.In[x], n.In[x+1]
	a := attrs[CrossEntropy](n)
	if a.Smoothing < 0 || a.Smoothing >= 1 {
		return 0, fmt.Errorf("label smoothing %g, expected a number of [0,1)", a.Smoothing)
	}
	if !l.DType.IsFloat() || len(l.Shape) != 2 || l.Shape[1] < 1 {
		return 0, fmt.Errorf("logits are %v, expected floats of shape (N,V): reshape first", l.Type)
	}
	if a.Classes < 0 || a.Classes > l.Shape[1] {
		return 0, fmt.Errorf("%d classes in logits %v, expected 1 to %d, or 0 for all", a.Classes, l.Shape, l.Shape[1])
	}
	rows := a.Targets(l.Shape[0])
	if a.First < 0 || a.First+l.Shape[0] > rows {
		return 0, fmt.Errorf("logits %v are rows from %d on of %d, expected no more than there are", l.Shape, a.First, rows)
	}
	if (t.DType != tensor.I32 && t.DType != tensor.I64) || len(t.Shape) != 1 || t.Shape[0] != rows {
		return 0, fmt.Errorf("targets are %v, expected i32(%d), one class per row of logits %v", t.Type, rows, l.Shape)
	}
	return l.Shape[0], nil
}

func crossEntropyInfer(n *Node) ([]Type, error) {
	rows, err := crossEntropyTypes(n, 0)
	st := statType(n.In[0].DType)
	return []Type{{st, tensor.Shape{}}, {st, tensor.Shape{rows}}}, err
}

func crossEntropyGradInfer(n *Node) ([]Type, error) {
	rows, err := crossEntropyTypes(n, 1)
	if err != nil {
		return nil, err
	}
	if d, l := n.In[0], n.In[3]; d.Shape.Size() != 1 || !d.DType.IsFloat() || l.Shape.Size() != rows || !l.DType.IsFloat() {
		return nil, fmt.Errorf("dloss is %v and lse %v, expected a float scalar and one float per row (%d)", d.Type, l.Type, rows)
	}
	return []Type{n.In[1].Type}, nil
}

func crossEntropyFusedInfer(n *Node) ([]Type, error) {
	_, err := crossEntropyTypes(n, 0)
	return []Type{{statType(n.In[0].DType), tensor.Shape{}}, n.In[0].Type}, err
}

func init() {
	plain := CrossEntropy{Seed: 1}
	smooth := CrossEntropy{Smoothing: 0.1, Seed: 0.5}
	ignore := CrossEntropy{Smoothing: 0.2, Ignore: 1, HasIgnore: true, Seed: 0.25}
	filled := func(classes int) CrossEntropy { return CrossEntropy{Smoothing: 0.1, Classes: classes, Seed: 1} }
	part := func(first int, a CrossEntropy) CrossEntropy {
		a.First, a.Total = first, 40
		return a
	}
	var fwd, bwd []Sample
	for _, c := range []struct {
		n, v int
		a    CrossEntropy
	}{{17, 3, plain}, {5, 65, plain}, {3, 1025, plain}, {9, 17, smooth}, {33, 4, ignore}, {2, 1, plain}, {7, 24, filled(19)}, {3, 1088, filled(1027)},
		{16, 65, part(0, plain)}, {9, 24, part(31, filled(19))}, {21, 4, part(8, ignore)}} {
		logits, targets := InRange(-4, 4, c.n, c.v), InIndex(c.a.Of(c.v), c.a.Targets(c.n))
		fwd = append(fwd, Sample{In: []SampleIn{logits, targets}, Attrs: c.a})
		bwd = append(bwd, Sample{In: []SampleIn{InRange(0.5, 2), logits, targets, InRange(4, 8, c.n)}, Attrs: c.a})
	}
	register(
		// logits (N,V), targets (N) → loss, lse (N); lse = log Σ e^logits per row, and per row that is not ignored
		//   lossₙ = lse − (1−s)·logits[target] − s·mean(logits);  loss = mean over those rows
		// (NaN where every row is ignored, as PyTorch). A target outside [0,V) that is not the ignored one makes
		// that row's loss, and so the mean, NaN, and its row of the gradient too; nothing is read out of bounds.
		// With Total: the sum of lossₙ over these rows, by the number of all rows that are not ignored.
		Op{Name: "cross_entropy", MinIn: 2, Infer: crossEntropyInfer, VJP: crossEntropyVJP, FLOPs: perElement(4), Samples: fwd},
		// dloss, logits, targets, lse → dlogits = dloss/count·(e^(logits−lse) − (1−s)·onehot − s/V), 0 for ignored rows
		Op{Name: "cross_entropy_grad", MinIn: 4, Infer: crossEntropyGradInfer, InPlace: [][2]int{{0, 1}}, Samples: bwd,
			FLOPs: func(n *Node) int64 { return 4 * int64(n.In[1].Shape.Size()) }},
		// logits, targets → loss, dlogits: both of the above in one sweep, with dloss = Seed known beforehand
		Op{Name: "cross_entropy_fused", MinIn: 2, Infer: crossEntropyFusedInfer, FLOPs: perElement(8), InPlace: [][2]int{{1, 0}}, Samples: fwd},
	)
}

func crossEntropyVJP(g *Graph, n *Node, dy []*Value) []*Value {
	return []*Value{g.Apply("cross_entropy_grad", n.Attrs, dy[0], n.In[0], n.In[1], n.Out[1]), nil}
}

// CrossEntropy is the mean over rows of −log softmax(logits)[target], as torch.nn.functional.cross_entropy: logits
// (…,V), targets I32 of the leading shape; the result is a scalar in f32 (f64 for f64 logits).
func (g *Graph) CrossEntropy(logits, targets *Value, a CrossEntropy) *Value {
	if r := len(logits.Shape); r != 2 {
		v := 1
		if r > 0 {
			v = logits.Shape[r-1]
		}
		logits = g.Reshape(logits, -1, v)
	}
	if len(targets.Shape) != 1 {
		targets = g.Reshape(targets, -1)
	}
	return g.Apply("cross_entropy", a, logits, targets)
}

// MSE is the mean of (pred − target)² over all elements; the shapes broadcast.
func (g *Graph) MSE(pred, target *Value) *Value {
	d := g.Apply("sub", nil, pred, target)
	return g.Apply("mean", Reduce{}, g.Apply("mul", nil, d, d))
}

// BCEWithLogits is the mean binary cross-entropy of sigmoid(z) against y ∈ [0,1]:
// −y·log σ(z) − (1−y)·log(1−σ(z)) = softplus(z) − z·y, which neither overflows nor cancels.
func (g *Graph) BCEWithLogits(z, y *Value) *Value {
	return g.Apply("mean", Reduce{}, g.Apply("sub", nil, g.Apply("softplus", nil, z), g.Apply("mul", nil, z, y)))
}
