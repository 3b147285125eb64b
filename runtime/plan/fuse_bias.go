package plan

import (
	"slices"

	"ringo/runtime/graph"
)

// fuseBiasGrad joins the gradients of a linear layer's weight and bias, xᵀ·dy and the sum of dy's rows, where the device's product
// can do both: dy, the largest matrix there is beside the logits, is read once less.
func fuseBiasGrad(g *graph.Graph, s *state) error {
	if !s.opt.BiasInProduct {
		return nil
	}
	r := newRewriter(g, s)
	for _, n := range slices.Clone(g.Nodes) {
		if n.Op.Name == "sum" && r.uses[n.Out[0]] > 0 {
			fuseRowSum(r, n)
		}
	}
	r.finish()
	return nil
}

// fuseRowSum looks for the plain product with the same dy.
func fuseRowSum(r *rewriter, n *graph.Node) {
	dy, a := n.In[0], n.Attrs.(graph.Reduce)
	if len(dy.Shape) != 2 || len(a.Axes) != 1 || a.Axes[0] != 0 || a.Keep {
		return
	}
	for _, m := range r.readers(dy) {
		if m.Attrs != any(graph.MatMul{TransA: true}) || m.In[1] != dy || m.In[0] == dy || len(m.In[0].Shape) != 2 || r.uses[m.Out[0]] == 0 {
			continue
		}
		out := r.add(m, "linear_grad", nil, m.In...)
		r.replace(m.Out[0], out[0])
		r.replace(n.Out[0], out[1])
		return
	}
}
