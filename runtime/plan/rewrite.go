package plan

import (
	"container/heap"

	"ringo/runtime/graph"
)

// rewriter edits a graph: nodes are added, uses are redirected, and finish drops what nothing needs and
// restores topological order, as close to the old order as the edits allow.
type rewriter struct {
	g    *graph.Graph
	s    *state
	uses map[*graph.Value]int // how many nodes and outputs read a value
	prio map[*graph.Node]int
}

func newRewriter(g *graph.Graph, s *state) *rewriter {
	r := &rewriter{g: g, s: s, uses: map[*graph.Value]int{}, prio: map[*graph.Node]int{}}
	for i, n := range g.Nodes {
		r.prio[n] = i
		for _, v := range n.In {
			r.uses[v]++
		}
	}
	for _, v := range r.roots() {
		r.uses[v]++
	}
	return r
}

// roots are the values that must survive: outputs, gradients and tracked statistics.
func (r *rewriter) roots() []*graph.Value {
	var out []*graph.Value
	for _, o := range r.g.Outputs {
		out = append(out, o.Value)
	}
	out = append(out, r.s.grads...)
	for _, t := range r.g.Tracked {
		out = append(out, t.New)
	}
	return out
}

// add applies an op at the place of node `at`.
func (r *rewriter) add(at *graph.Node, op string, attrs any, in ...*graph.Value) []*graph.Value {
	out := r.g.ApplyN(op, attrs, in...)
	n := out[0].Node
	n.Name, n.Block, n.Backward, n.Again = at.Name, at.Block, at.Backward, at.Again
	r.prio[n] = r.prio[at]
	for _, v := range in {
		r.uses[v]++
	}
	return out
}

// replace redirects every use of old to v.
func (r *rewriter) replace(old, v *graph.Value) {
	for _, n := range r.g.Nodes {
		if n == v.Node {
			continue
		}
		for i, in := range n.In {
			if in == old {
				n.In[i] = v
				r.uses[old]--
				r.uses[v]++
			}
		}
	}
	redirect := func(p **graph.Value) {
		if *p == old {
			*p = v
			r.uses[old]--
			r.uses[v]++
		}
	}
	for i := range r.g.Outputs {
		redirect(&r.g.Outputs[i].Value)
	}
	for i := range r.s.grads {
		redirect(&r.s.grads[i])
	}
	for i := range r.g.Tracked {
		redirect(&r.g.Tracked[i].New)
	}
}

// only reports whether v has exactly one reader.
func (r *rewriter) only(v *graph.Value) bool { return r.uses[v] == 1 }

// readers lists the nodes that read v.
func (r *rewriter) readers(v *graph.Value) []*graph.Node {
	var out []*graph.Node
	for _, n := range r.g.Nodes {
		for _, in := range n.In {
			if in == v {
				out = append(out, n)
				break
			}
		}
	}
	return out
}

// finish removes dead nodes and sorts the rest.
func (r *rewriter) finish() {
	live := map[*graph.Node]bool{}
	var mark func(n *graph.Node)
	mark = func(n *graph.Node) {
		if live[n] {
			return
		}
		live[n] = true
		for _, v := range n.In {
			mark(v.Node)
		}
	}
	for _, v := range r.roots() {
		mark(v.Node)
	}
	for _, n := range r.g.Nodes {
		if n.Op.Leaf || len(n.Op.Mutates) > 0 {
			mark(n)
		}
	}
	r.g.Nodes = r.sorted(live)
	r.g.Renumber()
}

// sorted returns the live nodes in topological order; among ready nodes the lowest priority comes first.
func (r *rewriter) sorted(live map[*graph.Node]bool) []*graph.Node {
	waiting := map[*graph.Node]int{}
	next := map[*graph.Node][]*graph.Node{}
	ready := &nodeHeap{prio: r.prio}
	for _, n := range r.g.Nodes {
		if !live[n] {
			continue
		}
		for _, v := range n.In {
			waiting[n]++
			next[v.Node] = append(next[v.Node], n)
		}
		if waiting[n] == 0 {
			heap.Push(ready, n)
		}
	}
	var out []*graph.Node
	for ready.Len() > 0 {
		n := heap.Pop(ready).(*graph.Node)
		out = append(out, n)
		for _, m := range next[n] {
			if waiting[m]--; waiting[m] == 0 {
				heap.Push(ready, m)
			}
		}
	}
	return out
}

type nodeHeap struct {
	nodes []*graph.Node
	prio  map[*graph.Node]int
}

func (h *nodeHeap) Len() int { return len(h.nodes) }
func (h *nodeHeap) Less(i, j int) bool {
	a, b := h.nodes[i], h.nodes[j]
	if h.prio[a] != h.prio[b] {
		return h.prio[a] < h.prio[b]
	}
	return a.ID < b.ID
}
func (h *nodeHeap) Swap(i, j int) { h.nodes[i], h.nodes[j] = h.nodes[j], h.nodes[i] }
func (h *nodeHeap) Push(x any)    { h.nodes = append(h.nodes, x.(*graph.Node)) }
func (h *nodeHeap) Pop() any {
	n := h.nodes[len(h.nodes)-1]
	h.nodes = h.nodes[:len(h.nodes)-1]
	return n
}
