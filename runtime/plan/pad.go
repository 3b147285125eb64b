package plan

import (
	"slices"

	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

// classMultiple is what the number of classes is filled up to a multiple of, and filler at most 1/mostFiller of: 64, and so rows
// of 128 bytes or more, suit the tiles of every library; 50,257 words become 50,304.
const classMultiple, mostFiller = 64, 16

// padClasses gives a classifier's weight zeros for classes that do not exist, so that rows of logits start on 16 bytes, as tensor
// cores want: all three products around the logits read or write them. The loss leaves the filler out and its gradient is 0, so
// sums over classes only gain zeros. It runs before differentiation, which cuts the filler off the weight's gradient.
func padClasses(g *graph.Graph, s *state) error {
	if !s.opt.PadClasses {
		return nil
	}
	r := newRewriter(g, s)
	for _, n := range slices.Clone(g.Nodes) {
		if n.Op.Name == "cross_entropy" {
			padClassifier(r, n)
		}
	}
	r.finish()
	return nil
}

// padClassifier pads the product that a loss reads, where it alone reads it and rows are long and odd enough.
func padClassifier(r *rewriter, loss *graph.Node) {
	logits := r.behindReshapes(loss.In[0])
	m := logits.Node
	a, ok := m.Attrs.(graph.MatMul)
	if !ok || a != (graph.MatMul{TransA: a.TransA, TransB: a.TransB, Bias: a.Bias}) || len(m.In[1].Shape) != 2 || !r.only(logits) {
		return
	}
	rows, classes := loss.In[0].Shape[0], loss.In[0].Shape[1]
	filler := (classMultiple - classes%classMultiple) % classMultiple
	e := loss.Attrs.(graph.CrossEntropy)
	if classes*logits.DType.Size()%16 == 0 || filler*mostFiller > classes || e.Classes != 0 || logits.Shape[len(logits.Shape)-1] != classes {
		return
	}
	axis := 1
	if a.TransB {
		axis = 0
	}
	in := slices.Clone(m.In)
	in[1] = r.padAxis(in[1], axis, filler)
	if a.Bias {
		in[2] = r.padAxis(in[2], 0, filler)
	}
	out := r.add(m, "matmul", a, in...)[0]
	e.Classes = classes
	flat := r.shaped(loss, out, tensor.Shape{rows, classes + filler})
	for i, v := range r.add(loss, "cross_entropy", e, flat, loss.In[1]) {
		r.replace(loss.Out[i], v)
	}
}

// padAxis puts zeros behind an axis of v, right where v is computed.
func (r *rewriter) padAxis(v *graph.Value, axis, n int) *graph.Value {
	p := graph.Pad{Before: make([]int, len(v.Shape)), After: make([]int, len(v.Shape))}
	p.After[axis] = n
	return r.add(v.Node, "pad", p, v)[0]
}
