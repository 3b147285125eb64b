package plan

import (
	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

// view says that a value has no memory of its own: it starts some bytes behind the start of another value's.
type view struct {
	of *graph.Value
	at int64
}

// views finds slices and concatenations along the first axis that copy nothing, as whole rows are a stretch of memory: a slice is
// read where its tensor lies, and what is joined is computed where it belongs.
func (l *lowering) views() {
	l.view, l.idle = map[*graph.Value]view{}, map[*graph.Node]bool{}
	fixed := l.fixed()
	used := l.sliced()
	for _, n := range l.g.Nodes {
		switch n.Op.Name {
		case "slice":
			base, _ := l.root(n.In[0])
			at, ok := rowsFrom(n)
			if ok && !fixed[n.Out[0]] && !l.changes[base] && (base.Node.Op.Leaf || 2*used[n.In[0]] >= base.Bytes()) {
				l.view[n.Out[0]], l.idle[n] = view{n.In[0], at}, true
			}
		case "concat":
			l.join(n, fixed)
		}
	}
}

// fixed are the values that get, or keep, memory of their own: gradients that wait for other lanes, tracked statistics, outputs. It notes
// on the way whose memory changes under some node.
func (l *lowering) fixed() map[*graph.Value]bool {
	l.changes = map[*graph.Value]bool{}
	for _, n := range l.g.Nodes {
		for _, m := range n.Op.Mutates {
			base, _ := l.root(n.In[m[1]])
			l.changes[base] = true
		}
	}
	out := map[*graph.Value]bool{}
	keep := func(v *graph.Value) {
		for out[v] = true; v.Node.Op.Alias; out[v] = true {
			v = v.Node.In[0]
		}
	}
	for _, v := range l.s.grads {
		if !l.p.Eager {
			keep(v)
		}
	}
	for _, t := range l.g.Tracked {
		keep(t.New)
	}
	for _, o := range l.g.Outputs {
		keep(o.Value)
	}
	return out
}

// sliced counts the bytes of all slices of a value: where they are a small part of it, copies let go of the rest.
func (l *lowering) sliced() map[*graph.Value]int {
	out := map[*graph.Value]int{}
	for _, n := range l.g.Nodes {
		if _, ok := rowsFrom(n); ok {
			out[n.In[0]] += n.Out[0].Bytes()
		}
	}
	return out
}

// rowsFrom returns where in its input, in bytes, a slice of whole rows starts, if that suits kernels as the start of a tensor.
func rowsFrom(n *graph.Node) (at int64, ok bool) {
	s, ok := n.Attrs.(graph.Slice)
	x := n.In
	if !ok || n.Op.Name != "slice" || n.Out[0].Bytes() == 0 {
		return 0, false
	}
	shape := x[0].Shape
	for axis := range shape {
		whole := s.Start[axis] == 0 && s.End[axis] == shape[axis]
		if s.Step[axis] != 1 || axis > 0 && !whole {
			return 0, false
		}
	}
	at = int64(s.Start[0]) * int64(x[0].Bytes()/shape[0])
	return at, at%tensor.Align == 0
}

// join lets the inputs of a concatenation of rows be computed in their places, if all of them can.
func (l *lowering) join(n *graph.Node, fixed map[*graph.Value]bool) {
	out := n.Out[0]
	axis, err := out.Shape.Axis(n.Attrs.(graph.Concat).Axis)
	if err != nil || axis != 0 || l.changes[out] {
		return
	}
	parts := map[*graph.Value]view{}
	var at int64
	for _, v := range n.In {
		own, _ := l.root(v)
		_, twice := parts[own]
		free := !own.Node.Op.Leaf && !fixed[own] && !l.changes[own] && own.Bytes() == v.Bytes()
		if !free || twice || at%tensor.Align != 0 {
			return
		}
		parts[own] = view{out, at}
		at += int64(v.Bytes())
	}
	for v, w := range parts {
		l.view[v] = w
	}
	l.idle[n] = true
}

// root follows aliases, views and mutations to the value whose memory v lies in, and says how many bytes behind its start.
func (l *lowering) root(v *graph.Value) (base *graph.Value, at int64) {
	for {
		n := v.Node
		next := v
		if n.Op.Alias && v.Index == 0 {
			next = n.In[0]
		}
		for _, m := range n.Op.Mutates {
			if m[0] == v.Index {
				next = n.In[m[1]]
			}
		}
		if w, ok := l.view[v]; ok {
			next, at = w.of, at+w.at
		}
		if next == v {
			return v, at
		}
		v = next
	}
}
