package plan

import (
	"slices"

	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

// leastRows is how many rows a product must have for its weights to be read in blocks: fewer do not fill a tile.
const leastRows = graph.Block

// blocks makes products of activations and parameters read the parameter's "blocks", which the device keeps for as long as the
// parameter stays as it is: half the bytes, and nothing to pack.
func blocks(g *graph.Graph, s *state) error {
	if !s.opt.Blocks {
		return nil
	}
	r := newRewriter(g, s)
	of := map[*graph.Value]*graph.Value{}
	for _, n := range slices.Clone(g.Nodes) {
		a, ok := n.Attrs.(graph.MatMul)
		if !ok || n.Op.Name != "matmul" || !fillsBlocks(n, a) {
			continue
		}
		w := n.In[1]
		if of[w] == nil {
			of[w] = r.add(w.Node, "blocks", nil, w)[0]
			of[w].Node.Backward = false
		}
		a.Blocks = [2]int{w.Shape[0], w.Shape[1]}
		in := slices.Clone(n.In)
		in[1] = of[w]
		for i, o := range r.add(n, "matmul", a, in...) {
			r.replace(n.Out[i], o)
		}
	}
	r.finish()
	return nil
}

// fillsBlocks reports whether a product is of f32 activations and a parameter, and each side fills a block.
func fillsBlocks(n *graph.Node, a graph.MatMul) bool {
	w := n.In[1]
	if w.Node.Op.Name != "param" || len(w.Shape) != 2 || w.DType != tensor.F32 || a.TransA {
		return false
	}
	sizes, _, err := a.Sizes(n.In[0].Shape, w.Shape)
	return err == nil && sizes.Batch == 1 && sizes.M >= leastRows && min(w.Shape[0], w.Shape[1]) >= graph.Block
}

// keepBlocks lists the program's blocks.
func (l *lowering) keepBlocks() {
	kept := map[int]bool{}
	for _, in := range l.p.Instrs {
		if a, ok := in.Attrs.(graph.MatMulAdamW); ok && a.Blocks {
			kept[in.Out[3].Buf] = true
		}
	}
	for i, in := range l.p.Instrs {
		if in.Op.Name == "blocks" {
			l.p.Blocks = append(l.p.Blocks, Blocked{i, kept[in.Out[0].Buf]})
		}
	}
}
