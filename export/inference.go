package export

import (
	"fmt"

	"ringo/models"
	"ringo/runtime/graph"
)

// Inference is a model in the form that others run: graphs of the forward pass, and the weights they read.
type Inference struct {
	// Build returns the graph for a batch size and, where MaxSeq is positive, a sequence length up to it. Graphs
	// for different sizes have the same nodes in the same order; only shapes differ.
	Build   func(batch, seq int) (*graph.Graph, error)
	MaxSeq  int // tokens at most; 0: the model has no sequence axis
	Weights Weights
}

// Forward returns the inference form of a model as it was trained: output Logits, dropout gone, batch norm with
// its running averages.
func Forward(m *models.Model, w Weights) *Inference {
	f := &Inference{Weights: w}
	if m.Language() {
		f.MaxSeq = m.Context
	}
	f.Build = func(batch, seq int) (*graph.Graph, error) {
		var bad error
		g, err := graph.Build(func(g *graph.Graph) { bad = m.Forward(g, batch, seq) })
		if bad != nil {
			return nil, bad
		}
		return g, err
	}
	return f
}

// Rewrite copies what a graph's outputs need into a new graph. For every node that is no leaf, change may return
// the outputs that take the node's place, made in `to` from inputs that are already copied; where it returns nil
// the node is copied as it is, as every node is where change is nil. Nodes that change adds are named after n, its
// parameters below n's name. Leaves are copied when a node reads them: what a rewrite no longer needs goes with a
// second rewrite.
func Rewrite(from *graph.Graph, change func(to *graph.Graph, n *graph.Node, in []*graph.Value) []*graph.Value) (*graph.Graph, error) {
	r := &rewriter{change: change, done: map[*graph.Value]*graph.Value{}}
	needed := Reachable(from)
	return graph.Build(func(to *graph.Graph) {
		r.to = to
		for _, in := range from.Inputs { // all of them, in their order, read or not
			r.leaf(in.Node)
		}
		for _, n := range from.Nodes {
			if needed[n] && !n.Op.Leaf {
				r.node(n)
			}
		}
		for _, o := range from.Outputs {
			to.Output(o.Name, r.value(o.Value))
		}
	})
}

// Reachable returns the nodes that a graph's outputs need.
func Reachable(g *graph.Graph) map[*graph.Node]bool {
	needed := map[*graph.Node]bool{}
	for _, o := range g.Outputs {
		needed[o.Value.Node] = true
	}
	for i := len(g.Nodes) - 1; i >= 0; i-- {
		if n := g.Nodes[i]; needed[n] {
			for _, v := range n.In {
				needed[v.Node] = true
			}
		}
	}
	return needed
}

type rewriter struct {
	to     *graph.Graph
	change func(to *graph.Graph, n *graph.Node, in []*graph.Value) []*graph.Value
	done   map[*graph.Value]*graph.Value
}

func (r *rewriter) node(n *graph.Node) {
	in := make([]*graph.Value, len(n.In))
	for i, v := range n.In {
		in[i] = r.value(v)
	}
	var out []*graph.Value
	r.to.Scope(n.Name, func() {
		if r.change != nil {
			out = r.change(r.to, n, in)
		}
		if out == nil {
			out = r.to.ApplyN(n.Op.Name, n.Attrs, in...)
		}
	})
	for i, v := range n.Out {
		if i < len(out) {
			r.done[v] = out[i]
		}
	}
}

// value returns the copy of v; that of a leaf is made now.
func (r *rewriter) value(v *graph.Value) *graph.Value {
	if c := r.done[v]; c != nil {
		return c
	}
	if !v.Node.Op.Leaf {
		panic(&graph.Error{Op: v.Node.Op.Name, Name: v.Node.Name, Err: fmt.Errorf("output %d was rewritten away but is read", v.Index)})
	}
	r.leaf(v.Node)
	return r.done[v]
}

func (r *rewriter) leaf(n *graph.Node) {
	if r.done[n.Out[0]] != nil {
		return
	}
	var c *graph.Value
	switch a := n.Attrs.(type) {
	case graph.Const:
		c = r.to.Const(a.Value)
	case graph.Leaf:
		switch n.Op.Name {
		case "param":
			c = r.to.Param(a)
		case "state":
			c = r.to.State(a.Name, a.Type.DType, a.Init, a.Type.Shape...)
		default:
			c = r.to.Input(a.Name, a.Type.DType, a.Type.Shape...)
		}
	}
	r.done[n.Out[0]] = c
}
