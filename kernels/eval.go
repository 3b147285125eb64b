package kernels

import (
	"fmt"
	"runtime"

	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

// Eval interprets a graph node by node, every value in memory of its own: the plainest executor there is,
// against which planned programs are checked. feeds gives the leaves (inputs, params, states); they are
// copied. It returns every value of the graph.
func Eval(g *graph.Graph, feeds map[*graph.Value]*tensor.Tensor, reference bool) (map[*graph.Value]*tensor.Tensor, error) {
	vals := make(map[*graph.Value]*tensor.Tensor, len(g.Nodes))
	for _, n := range g.Nodes {
		if n.Op.Leaf {
			t, err := leafValue(n, feeds)
			if err != nil {
				return nil, err
			}
			vals[n.Out[0]] = t
			continue
		}
		if err := evalNode(n, vals, reference); err != nil {
			return nil, err
		}
	}
	return vals, nil
}

func leafValue(n *graph.Node, feeds map[*graph.Value]*tensor.Tensor) (*tensor.Tensor, error) {
	src := feeds[n.Out[0]]
	if c, ok := n.Attrs.(graph.Const); ok {
		src = c.Value
	}
	if src == nil {
		return nil, fmt.Errorf("eval: no value fed for %s %q", n.Op.Name, n.Name)
	}
	t := newOffHeap(n.Out[0].Type)
	copy(t.Bytes(), src.Bytes())
	return t, nil
}

func evalNode(n *graph.Node, vals map[*graph.Value]*tensor.Tensor, reference bool) error {
	c := &Call{Op: n.Op.Name, Attrs: n.Attrs, Precision: tensor.F32}
	for _, v := range n.In {
		c.In = append(c.In, View{v.Type, vals[v].Bytes()})
	}
	for i, o := range n.Out {
		t := newOffHeap(o.Type)
		for _, m := range n.Op.Mutates {
			if m[0] == i {
				t = vals[n.In[m[1]]]
			}
		}
		vals[o] = t
		c.Out = append(c.Out, View{o.Type, t.Bytes()})
	}
	if n.Op.Alias {
		copy(c.Out[0].Bytes, c.In[0].Bytes)
		return nil
	}
	run, err := Bind(c, reference)
	if err != nil {
		return err
	}
	run()
	return nil
}

// newOffHeap returns a zeroed tensor outside the Go heap.
func newOffHeap(t graph.Type) *tensor.Tensor {
	n := t.Bytes()
	a, err := NewArena(n + tensor.Align)
	if err != nil {
		panic(err)
	}
	runtime.SetFinalizer(a, nil)
	out, _ := tensor.FromBytes(t.DType, t.Shape, a.Bytes[:n:n])
	runtime.AddCleanup(out, func(a *Arena) { _ = a.Close() }, a)
	return out
}
