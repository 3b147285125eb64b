package plan

import (
	"fmt"
	"hash/fnv"
	"slices"

	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

// Ways of rounding parameters to bf16, Options.Rounding.
const (
	RoundNearest    = "nearest"
	RoundStochastic = "stochastic"
)

// roundParams rounds the bf16 copies of parameters up or down at random, so that their mean over steps is the parameter:
// changes too small for the copy still show in it now and then. The parameters themselves stay f32. Where activations are
// f32, the factors of products are such copies. It runs before differentiation, which passes gradients through.
func roundParams(g *graph.Graph, s *state) error {
	switch s.opt.Rounding {
	case "", RoundNearest:
		return nil
	case RoundStochastic:
	default:
		return fmt.Errorf("rounding %q: expected %s or %s", s.opt.Rounding, RoundNearest, RoundStochastic)
	}
	if s.opt.Precision != tensor.BF16 {
		return fmt.Errorf("rounding %s: products keep f32 here; it needs precision bf16", RoundStochastic)
	}
	rng := randomInput(g)
	r := newRewriter(g, s)
	rounded := func(at *graph.Node, p *graph.Value) *graph.Value {
		h := fnv.New32a()
		h.Write([]byte(p.Node.Name))
		return r.add(at, "round_stochastic", graph.RoundStochastic{Key: h.Sum32()}, p, rng)[0]
	}
	for _, n := range slices.Clone(g.Nodes) {
		switch {
		case n.Op.Name == "cast" && n.Out[0].DType == tensor.BF16 && slices.Contains(g.Params, n.In[0]):
			r.replace(n.Out[0], rounded(n, n.In[0]))
		case n.Op.Name == "matmul":
			for i, v := range n.In[:2] {
				if v.DType == tensor.F32 && slices.Contains(g.Params, v) {
					n.In[i] = r.add(n, "cast", graph.Cast{To: tensor.F32}, rounded(n, v))[0]
				}
			}
		}
	}
	r.finish()
	return nil
}

// randomInput returns the graph's input of seed, step and lane, added where nothing else draws numbers.
func randomInput(g *graph.Graph) *graph.Value {
	for _, v := range g.Inputs {
		if v.Node.Name == graph.RNG {
			return v
		}
	}
	return g.Input(graph.RNG, tensor.I64, 3)
}
