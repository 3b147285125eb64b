package plan

import (
	"fmt"

	"ringo/runtime/graph"
)

// The values of Options.Recompute. Each saves more memory than the one before and costs more time.
const (
	RecomputeNone  = "none"
	RecomputeGelu  = "gelu"  // results of activation functions: one pass over memory each
	RecomputeNorm  = "norm"  // and of norms
	RecomputeBlock = "block" // all but what enters and leaves a block: about one more forward pass
)

var activations = map[string]bool{"relu": true, "gelu": true, "silu": true, "swiglu": true, "tanh": true, "sigmoid": true}

var norms = map[string]bool{"layernorm": true, "rmsnorm": true, "add_layernorm": true, "add_rmsnorm": true}

// recompute trades time for memory (Chen et al., "Training Deep Nets with Sublinear Memory Cost", 2016): a value that the
// forward pass would keep for the backward pass is computed again just before the backward pass reads it. The bits are
// the same, since the same nodes read the same inputs; random numbers are functions of step and lane.
func recompute(g *graph.Graph, s *state) error {
	again, err := recomputes(g, s.opt.Recompute)
	if again == nil || err != nil {
		return err
	}
	r := newRewriter(g, s)
	c := &cloner{r: r, again: again, of: map[*graph.Value]*graph.Value{}}
	for _, n := range append([]*graph.Node(nil), g.Nodes...) {
		if !n.Backward {
			continue
		}
		for i, v := range n.In {
			if again(v) {
				n.In[i] = c.clone(v, n)
			}
		}
	}
	r.finish()
	return nil
}

// recomputes returns which values are computed again, nil where none is.
func recomputes(g *graph.Graph, how string) (func(v *graph.Value) bool, error) {
	forward := func(v *graph.Value) bool {
		return !v.Node.Backward && !v.Node.Op.Leaf && len(v.Node.Op.Mutates) == 0
	}
	switch how {
	case "", RecomputeNone:
		return nil, nil
	case RecomputeGelu:
		return func(v *graph.Value) bool { return forward(v) && activations[v.Node.Op.Name] }, nil
	case RecomputeNorm:
		return func(v *graph.Value) bool {
			return forward(v) && (activations[v.Node.Op.Name] || norms[v.Node.Op.Name] && v.Index == 0)
		}, nil
	case RecomputeBlock:
		ends := blockEnds(g)
		return func(v *graph.Value) bool { return forward(v) && v.Node.Block > 0 && !ends[v] }, nil
	}
	return nil, fmt.Errorf("recompute %q: expected none, gelu, norm or block", how)
}

// blockEnds are the values of blocks that forward nodes outside of the block read, or callers.
func blockEnds(g *graph.Graph) map[*graph.Value]bool {
	ends := map[*graph.Value]bool{}
	for _, n := range g.Nodes {
		for _, v := range n.In {
			if !n.Backward && n.Block != v.Node.Block {
				ends[v] = true
			}
		}
	}
	for _, o := range g.Outputs {
		ends[o.Value] = true
	}
	for _, t := range g.Tracked {
		ends[t.New] = true
	}
	return ends
}

// cloner copies nodes into the backward pass, each once.
type cloner struct {
	r     *rewriter
	again func(v *graph.Value) bool
	of    map[*graph.Value]*graph.Value
}

// clone returns a copy of v that is computed as late as `reader` allows.
func (c *cloner) clone(v *graph.Value, reader *graph.Node) *graph.Value {
	if w := c.of[v]; w != nil {
		return w
	}
	in := append([]*graph.Value(nil), v.Node.In...)
	for i, u := range in {
		if c.again(u) {
			in[i] = c.clone(u, reader)
		}
	}
	out := c.r.add(reader, v.Node.Op.Name, v.Node.Attrs, in...)
	n := out[0].Node
	n.Name, n.Block, n.Backward, n.Again = v.Node.Name+"+", v.Node.Block, true, true
	for i, o := range v.Node.Out {
		c.of[o] = out[i]
	}
	return out[v.Index]
}
