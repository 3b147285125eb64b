package onnx

import (
	"fmt"
	"strings"

	"ringo/export"
	"ringo/runtime/graph"
)

// Dim is a number that depends on the sizes a model is run at: N·batch^Batch·time^Time, the exponents 0 or 1.
type Dim struct {
	N           int
	Batch, Time bool
}

func (d Dim) constant() bool { return !d.Batch && !d.Time }

// String is what dim_param says: batch, time, or a product.
func (d Dim) String() string {
	var parts []string
	if d.Batch {
		parts = append(parts, BatchAxis)
	}
	if d.Time {
		parts = append(parts, TimeAxis)
	}
	if d.N != 1 || len(parts) == 0 {
		parts = append([]string{fmt.Sprint(d.N)}, parts...)
	}
	return strings.Join(parts, "*")
}

// sizes are what a graph was built for.
type sizes struct{ batch, seq int }

// A graph has numbers for shapes. Which of them follow the batch and which the sequence shows when the same model
// is built for other sizes: the first graph is the one that is written, in the second the batch differs, in the
// third the sequence.
func build(m *export.Inference) (graphs []*graph.Graph, at []sizes, err error) {
	at = []sizes{{2, m.MaxSeq}, {3, m.MaxSeq}}
	if m.MaxSeq > 2 { // below the maximum, where a model may cut its tables to the sequence
		long := m.MaxSeq - 1
		at = []sizes{{2, long}, {3, long}, {2, long - 1}}
	}
	for _, s := range at {
		g, err := m.Build(s.batch, s.seq)
		if err != nil {
			return nil, nil, err
		}
		if len(graphs) > 0 {
			if err := same(graphs[0], g); err != nil {
				return nil, nil, err
			}
		}
		graphs = append(graphs, g)
	}
	return graphs, at, nil
}

// same checks that two graphs differ in nothing but numbers.
func same(a, b *graph.Graph) error {
	if len(a.Nodes) != len(b.Nodes) || len(a.Outputs) != len(b.Outputs) {
		return fmt.Errorf("onnx: the model has %d nodes at one size and %d at another: expected one graph for all sizes", len(a.Nodes), len(b.Nodes))
	}
	for i, n := range a.Nodes {
		m := b.Nodes[i]
		ok := n.Op == m.Op && len(n.In) == len(m.In)
		for j := 0; ok && j < len(n.In); j++ {
			ok = n.In[j].Node.ID == m.In[j].Node.ID && n.In[j].Index == m.In[j].Index && len(n.In[j].Shape) == len(m.In[j].Shape)
		}
		if !ok {
			return &graph.Error{Op: n.Op.Name, Name: n.Name, Err: fmt.Errorf("node %d differs between sizes: expected one graph for all", i)}
		}
	}
	return nil
}

// merge turns a number, as it is in each build, into a Dim.
func (e *emitter) merge(at []int) (Dim, error) {
	d := Dim{N: at[0]}
	follow := func(i, one, other int) (bool, error) {
		if i >= len(at) || at[i] == at[0] {
			return false, nil
		}
		if at[i]*one != at[0]*other || d.N%one != 0 {
			return false, fmt.Errorf("the number %d becomes %d when a size goes from %d to %d: expected it to be proportional", at[0], at[i], one, other)
		}
		d.N /= one
		return true, nil
	}
	var err error
	if d.Batch, err = follow(1, e.at[0].batch, e.at[min(1, len(e.at)-1)].batch); err != nil {
		return d, err
	}
	d.Time, err = follow(2, e.at[0].seq, e.at[len(e.at)-1].seq)
	return d, err
}

// dims returns the shape of a value of the first build.
func (e *emitter) dims(v *graph.Value) []Dim {
	out := make([]Dim, len(v.Shape))
	for i := range out {
		at := make([]int, len(e.builds))
		for j, g := range e.builds {
			at[j] = g.Nodes[v.Node.ID].Out[v.Index].Shape[i]
		}
		d, err := e.merge(at)
		if err != nil {
			panic(&graph.Error{Op: v.Node.Op.Name, Name: v.Node.Name, Err: fmt.Errorf("dimension %d of %v: %w", i, v.Type, err)})
		}
		out[i] = d
	}
	return out
}

// list returns a list of numbers among a node's attributes.
func (n *node) list(get func(*graph.Node) []int) []Dim {
	out := make([]Dim, len(get(n.Node)))
	for i := range out {
		at := make([]int, len(n.twins))
		for j, t := range n.twins {
			at[j] = get(t)[i]
		}
		d, err := n.merge(at)
		if err != nil {
			n.fail("attribute %d of %v: %w", i, get(n.Node), err)
		}
		out[i] = d
	}
	return out
}

// ints returns a 1-D i64 tensor of dims: a constant, or pieces computed from the shapes of the inputs.
func (e *emitter) ints(dims []Dim) string {
	var parts []string
	var known []int
	flush := func() {
		if len(known) > 0 {
			parts = append(parts, e.constInts(known))
			known = nil
		}
	}
	for _, d := range dims {
		if d.constant() {
			known = append(known, d.N)
			continue
		}
		flush()
		parts = append(parts, e.size(d))
	}
	flush()
	switch len(parts) {
	case 0:
		return e.constInts(nil)
	case 1:
		return parts[0]
	}
	return e.emit("shape", "Concat", parts, attrInt("axis", 0))[0]
}

// size returns a 1-D i64 tensor with the one number that d is when the model runs.
func (e *emitter) size(d Dim) string {
	if name := e.sizes[d]; name != "" {
		return name
	}
	var name string
	switch {
	case d.N != 1:
		one := d
		one.N = 1
		name = e.emit("shape", "Mul", []string{e.size(one), e.constInts([]int{d.N})})[0]
	case d.Batch && d.Time:
		name = e.emit("shape", "Mul", []string{e.size(Dim{1, true, false}), e.size(Dim{1, false, true})})[0]
	default:
		name = e.measure(d)
	}
	e.sizes[d] = name
	return name
}

// measure reads a size off an input that has it as a dimension.
func (e *emitter) measure(d Dim) string {
	for _, in := range e.builds[0].Inputs {
		for i, have := range e.dims(in) {
			if have == d {
				return e.emit("shape", "Shape", []string{in.Node.Name}, attrInt("start", i), attrInt("end", i+1))[0]
			}
		}
	}
	panic(&graph.Error{Op: "input", Name: d.String(), Err: fmt.Errorf("no input has this dimension, so it cannot be known when the model runs")})
}

// shapeLike returns the shape input of Reshape from a tensor of dims `from` to `to`: 0 keeps a dimension where it
// stands, −1 stands for one that follows from the rest, and only what neither covers is computed.
func (e *emitter) shapeLike(from, to []Dim) string {
	out, open := make([]int, len(to)), 0
	for i, d := range to {
		switch {
		case d.constant() && d.N != 0:
			out[i] = d.N
		case i < len(from) && from[i] == d:
			out[i] = 0
		default:
			out[i] = -1
			open++
		}
	}
	if open > 1 {
		return e.ints(to)
	}
	return e.constInts(out)
}
