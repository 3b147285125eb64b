package plan

import (
	"slices"

	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

// writesHalf are the outputs that kernels write in bf16 as well as in f32, beside other outputs in f32. (The gradient of logits is not
// among them: it takes the logits' memory, which bf16 rows of half the length could not.)
var writesHalf = map[string][]int{"layernorm": {0}, "add_layernorm": {1}, "rmsnorm": {0}, "add_rmsnorm": {1}}

// halfFactors keeps in bf16 what only products read that round it to bf16 anyway: half the bytes to write and to read, and every
// result has the bits that it had. It differs from storage, which rounds all activations, sums along the residual stream included:
// devices short of bandwidth ask for that, here nothing may be lost. It comes last, as f32 values that other passes look for change type.
func halfFactors(g *graph.Graph, s *state) error {
	if !s.opt.HalfFactors || s.opt.Precision != tensor.BF16 {
		return nil
	}
	r := newRewriter(g, s)
	roots := r.roots()
	for _, n := range g.Nodes {
		for _, i := range writesHalf[n.Op.Name] {
			if i < len(n.Out) && n.Out[i].DType == tensor.F32 {
				if same, ok := r.onlyFactors(n.Out[i], roots); ok {
					for _, v := range same {
						v.DType = tensor.BF16
					}
				}
			}
		}
	}
	for _, n := range g.Nodes {
		if err := n.Store(); err != nil {
			return err
		}
	}
	return nil
}

// onlyFactors reports whether products that round it to bf16 are all that reads v; same is v and what only cuts it or gives it other shapes.
func (r *rewriter) onlyFactors(v *graph.Value, roots []*graph.Value) (same []*graph.Value, ok bool) {
	if slices.Contains(roots, v) {
		return nil, false
	}
	same = []*graph.Value{v}
	for _, n := range r.readers(v) {
		if n.Op.Name == "reshape" || n.Op.Name == "slice" {
			more, ok := r.onlyFactors(n.Out[0], roots)
			if !ok {
				return nil, false
			}
			same = append(same, more...)
		} else if !roundsFactors(n) || slices.Contains(n.In[2:], v) {
			return nil, false
		}
	}
	return same, r.uses[v] > 0
}

// roundsFactors reports whether a bf16 product is so large that devices multiply it by units for bf16, not in f32.
func roundsFactors(n *graph.Node) bool {
	a, ok := n.Attrs.(graph.MatMul)
	if !ok || n.Op.Name != "matmul" {
		return false
	}
	s, _, err := a.Sizes(n.In[0].Shape, n.In[1].Shape)
	return err == nil && s.Batch == 1 && min(s.M, s.N, s.K) >= graph.Block
}
