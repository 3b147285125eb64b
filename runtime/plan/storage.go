package plan

import (
	"fmt"
	"slices"

	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

// Which ops keep their activations in half precision. Products start it, what can follow without loss of meaning follows,
// and everything else (losses, logarithms, sums) reads f32, as autocast does (Micikevicius et al., "Mixed Precision
// Training", 2018). Parameters stay f32; products and lookups read a rounded copy.
var (
	halfStarts  = opSet("matmul", "conv2d", "attention", "embedding")
	halfFollows = opSet("add", "sub", "mul", "maximum", "minimum", "relu", "gelu", "silu", "swiglu", "tanh", "sigmoid", "dropout", "rope",
		"reshape", "transpose", "slice", "concat", "pad", "broadcast", "maxpool2d", "avgpool2d", "mean")
	// halfInputs are ops whose listed inputs are activations; the others (gains, biases, statistics) keep their type.
	halfInputs = map[string][]int{"layernorm": {0}, "add_layernorm": {0, 1}, "rmsnorm": {0}, "add_rmsnorm": {0, 1},
		"batchnorm": {0}, "groupnorm": {0}, "cross_entropy": {0}}
)

func opSet(names ...string) map[string]bool {
	out := map[string]bool{}
	for _, n := range names {
		out[n] = true
	}
	return out
}

// storage rebuilds the forward graph with activations in Options.Storage. It runs before differentiation, so that
// cotangents have the types of what they belong to; gradients of parameters come out in f32 through the casts.
func storage(g *graph.Graph, s *state) (err error) {
	half := s.opt.Storage
	if half == tensor.Invalid || half == tensor.F32 {
		return nil
	}
	if half != tensor.BF16 {
		return fmt.Errorf("storage %v: expected f32 or bf16", half)
	}
	defer func() {
		switch e := recover().(type) {
		case nil:
		case *graph.Error:
			err = e
		default:
			panic(e)
		}
	}()
	h := &halver{g: g, half: half, now: map[*graph.Value]*graph.Value{}, cast: map[castKey]*graph.Value{}}
	old := g.Nodes
	g.Nodes = nil
	for _, n := range old {
		h.node(n)
	}
	for i := range g.Outputs {
		o := &g.Outputs[i]
		o.Value = h.to(h.now[o.Value], o.Value.DType)
	}
	for i := range g.Tracked {
		t := &g.Tracked[i]
		t.New = h.to(h.now[t.New], t.New.DType)
	}
	return nil
}

type castKey struct {
	v  *graph.Value
	to tensor.DType
}

// halver copies a graph node by node; now maps old values to new ones.
type halver struct {
	g    *graph.Graph
	half tensor.DType
	now  map[*graph.Value]*graph.Value
	cast map[castKey]*graph.Value
}

func (h *halver) node(n *graph.Node) {
	if n.Op.Leaf {
		n.ID = len(h.g.Nodes)
		h.g.Nodes = append(h.g.Nodes, n)
		for _, o := range n.Out {
			h.now[o] = o
		}
		return
	}
	in := make([]*graph.Value, len(n.In))
	halved := false
	for i, v := range n.In {
		in[i] = h.now[v]
		halved = halved || in[i].DType == h.half
	}
	picked, isPicked := halfInputs[n.Op.Name]
	for i, v := range in {
		switch {
		case !v.DType.IsFloat() || v.DType == tensor.F64:
		case halfStarts[n.Op.Name], halved && halfFollows[n.Op.Name]:
			in[i] = h.to(v, h.half)
		case isPicked:
			if halved && slices.Contains(picked, i) {
				in[i] = h.to(v, h.half)
			}
		default:
			in[i] = h.to(v, n.In[i].DType)
		}
	}
	out := h.g.ApplyN(n.Op.Name, n.Attrs, in...)
	out[0].Node.Name, out[0].Node.Block = n.Name, n.Block
	for i, o := range n.Out {
		h.now[o] = out[i]
	}
}

// to returns v in another type, cast once.
func (h *halver) to(v *graph.Value, dt tensor.DType) *graph.Value {
	if v.DType == dt {
		return v
	}
	key := castKey{v, dt}
	if h.cast[key] == nil {
		c := h.g.Cast(v, dt)
		c.Node.Name = v.Node.Name
		h.cast[key] = c
	}
	return h.cast[key]
}
