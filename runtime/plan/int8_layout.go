package plan

import (
	"slices"

	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

// last turns (N,C,H,W) into (N,H,W,C), first turns it back.
var last, first = []int{0, 2, 3, 1}, []int{0, 3, 1, 2}

// turn transposes v; along axes of size 1 nothing moves, and a reshape does.
func (r *rewriter) turn(at *graph.Node, v *graph.Value, perm []int) *graph.Value {
	shape := make(tensor.Shape, len(perm))
	var moved []int // axes longer than 1, in their new order
	for i, p := range perm {
		shape[i] = v.Shape[p]
		if v.Shape[p] > 1 {
			moved = append(moved, p)
		}
	}
	if slices.IsSorted(moved) {
		return r.add(at, "reshape", graph.Reshape{Shape: shape}, v)[0]
	}
	return r.add(at, "transpose", graph.Transpose{Perm: perm}, v)[0]
}

// channelsLast lets integer convolutions and poolings work on (N,H,W,C), between two transpositions that
// cancelTransposes removes again where two such ops follow one another.
func channelsLast(r *rewriter, n *graph.Node) {
	in := slices.Clone(n.In)
	var attrs any
	switch a := n.Attrs.(type) {
	case graph.QConv2D:
		if a.NHWC {
			return
		}
		a.NHWC = true
		if a.Residual {
			in[len(in)-1] = r.turn(n, in[len(in)-1], last)
		}
		attrs = a
	case graph.QPool2D:
		if a.NHWC {
			return
		}
		a.NHWC = true
		attrs = a
	default:
		return
	}
	in[0] = r.turn(n, in[0], last)
	r.replace(n.Out[0], r.turn(n, r.add(n, n.Op.Name, attrs, in...)[0], first))
}

// cancelTransposes removes pairs of transpositions that undo each other, and lets a matrix product that reads a
// flattened (N,C,H,W) read the (N,H,W,C) it was made from: the rows of its constant weight are reordered instead.
func cancelTransposes(g *graph.Graph, s *state) error {
	for _, rule := range []func(r *rewriter, n *graph.Node){cancelPair, flattenLast} {
		r := newRewriter(g, s)
		for _, n := range slices.Clone(g.Nodes) {
			if len(n.Out) > 0 && r.uses[n.Out[0]] > 0 {
				rule(r, n)
			}
		}
		r.finish()
	}
	return nil
}

func cancelPair(r *rewriter, n *graph.Node) {
	a, ok := n.Attrs.(graph.Transpose)
	if !ok || n.Op.Name != "transpose" || n.In[0].Node.Op.Name != "transpose" {
		return
	}
	b := n.In[0].Node.Attrs.(graph.Transpose)
	for i, p := range a.Perm {
		if b.Perm[p] != i {
			return
		}
	}
	r.replace(n.Out[0], n.In[0].Node.In[0])
}

func flattenLast(r *rewriter, n *graph.Node) {
	a, ok := n.Attrs.(graph.QMatMul)
	if !ok || n.In[0].Node.Op.Name != "reshape" || !r.only(n.In[0]) {
		return
	}
	t := n.In[0].Node.In[0].Node
	perm, isT := t.Attrs.(graph.Transpose)
	w, isConst := n.In[3].Node.Attrs.(graph.Const)
	flat := n.In[0].Shape
	if !isT || !isConst || !slices.Equal(perm.Perm, first) || len(flat) != 2 || t.Out[0].Shape[0] != flat[0] {
		return
	}
	x := t.In[0] // (N,H,W,C)
	c, pixels := x.Shape[3], x.Shape[1]*x.Shape[2]
	moved := tensor.New(w.Value.DType, w.Value.Shape...)
	src, dst := w.Value.Bytes(), moved.Bytes()
	k := c * pixels
	cols := len(src) / k
	for i := range k { // element i of the new order is pixel i/c of channel i%c
		from := i%c*pixels + i/c
		if !a.TransB {
			copy(dst[i*cols:(i+1)*cols], src[from*cols:])
			continue
		}
		for j := range cols {
			dst[j*k+i] = src[j*k+from]
		}
	}
	in := slices.Clone(n.In)
	in[0] = r.add(n, "reshape", graph.Reshape{Shape: flat}, x)[0]
	in[3] = r.add(n.In[3].Node, "const", graph.Const{Value: moved})[0]
	r.replace(n.Out[0], r.add(n, n.Op.Name, a, in...)[0])
}
