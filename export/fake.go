package export

import "ringo/runtime/graph"

// Fakes are the roundings of quantization-aware training in a model's graph; who exports float leaves them out, who
// exports int8 takes their ranges.

// withoutFakes leaves the roundings out of an inference form, and with them their states.
func withoutFakes(m *Inference) *Inference {
	out := *m
	out.Build = func(batch, seq int) (*graph.Graph, error) {
		g, err := m.Build(batch, seq)
		if err != nil {
			return nil, err
		}
		g, err = Rewrite(g, func(_ *graph.Graph, n *graph.Node, in []*graph.Value) []*graph.Value {
			if n.Op.Name == "fake_quantize" {
				return in[:1]
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		return Rewrite(g, nil)
	}
	return &out
}

// FakeRange names the states that hold the trained range of a layer's input.
type FakeRange struct{ Min, Max string }

// FakeRanges lists the trained ranges in a graph, by the weight of the layer that reads the input.
func FakeRanges(g *graph.Graph) map[string]FakeRange {
	out := map[string]FakeRange{}
	for _, n := range g.Nodes {
		if len(n.In) < 2 || n.In[0].Node.Op.Name != "fake_quantize" || n.In[1].Node.Op.Name != "fake_quantize" {
			continue
		}
		x, w := n.In[0].Node, n.In[1].Node
		if x.In[1].Node.Op.Name == "state" && x.In[2].Node.Op.Name == "state" {
			out[w.In[0].Node.Name] = FakeRange{x.In[1].Node.Name, x.In[2].Node.Name}
		}
	}
	return out
}
