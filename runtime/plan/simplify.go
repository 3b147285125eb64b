package plan

import (
	"fmt"

	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

// simplify applies identities that change no bit of the result, and merges equal nodes.
func simplify(g *graph.Graph, s *state) error {
	r := newRewriter(g, s)
	for i := 0; i < len(g.Nodes); i++ {
		n := g.Nodes[i]
		if n.Op.Leaf || len(n.Out) != 1 || r.uses[n.Out[0]] == 0 {
			continue
		}
		if rule := identities[n.Op.Name]; rule != nil {
			if v := rule(r, n); v != nil && v != n.Out[0] {
				r.replace(n.Out[0], v)
			}
		}
	}
	r.finish()
	r = newRewriter(g, s)
	merge(r)
	r.finish()
	return nil
}

// identities maps an op to the rule that may find a simpler value for its output; nil means none.
var identities = map[string]func(r *rewriter, n *graph.Node) *graph.Value{
	"reshape":   simplerReshape,
	"broadcast": simplerBroadcast,
	"transpose": simplerTranspose,
	"cast":      simplerCast,
	"mul":       simplerMul,
	"div":       simplerDiv,
	"add":       simplerAdd,
	"neg": func(r *rewriter, n *graph.Node) *graph.Value {
		return foldUnary(r, n, func(x float64) float64 { return -x })
	},
}

// number returns the value of a fill node.
func number(v *graph.Value) (float64, bool) {
	f, ok := v.Node.Attrs.(graph.Fill)
	return f.Value, ok && v.Node.Op.Name == "fill"
}

func (r *rewriter) fill(at *graph.Node, x float64, t graph.Type) *graph.Value {
	return r.add(at, "fill", graph.Fill{Value: x, Type: t})[0]
}

func simplerReshape(r *rewriter, n *graph.Node) *graph.Value {
	x := n.In[0]
	switch v, isFill := number(x); {
	case x.Shape.Equal(n.Out[0].Shape):
		return x
	case isFill:
		return r.fill(n, v, n.Out[0].Type)
	case x.Node.Op.Name == "reshape":
		return r.add(n, "reshape", n.Attrs, x.Node.In[0])[0]
	}
	return nil
}

func simplerBroadcast(r *rewriter, n *graph.Node) *graph.Value {
	if v, ok := number(n.In[0]); ok {
		return r.fill(n, v, n.Out[0].Type)
	}
	if n.In[0].Shape.Equal(n.Out[0].Shape) {
		return n.In[0]
	}
	return nil
}

func simplerTranspose(_ *rewriter, n *graph.Node) *graph.Value {
	for i, p := range n.Attrs.(graph.Transpose).Perm {
		if p != i {
			return nil
		}
	}
	return n.In[0]
}

func simplerCast(r *rewriter, n *graph.Node) *graph.Value {
	if n.In[0].DType == n.Out[0].DType {
		return n.In[0]
	}
	if v, ok := number(n.In[0]); ok && n.In[0].DType.IsFloat() && n.Out[0].DType.IsFloat() {
		return r.fill(n, v, n.Out[0].Type)
	}
	return nil
}

func foldUnary(r *rewriter, n *graph.Node, f func(float64) float64) *graph.Value {
	if v, ok := number(n.In[0]); ok && n.Out[0].DType.IsFloat() {
		return r.fill(n, f(v), n.Out[0].Type)
	}
	return nil
}

// fold replaces an op on two numbers. Arithmetic rounds to the element type, as the kernel would.
func fold(r *rewriter, n *graph.Node, f func(a, b float64) float64) *graph.Value {
	a, okA := number(n.In[0])
	b, okB := number(n.In[1])
	if !okA || !okB || !n.Out[0].DType.IsFloat() {
		return nil
	}
	v := f(a, b)
	if n.Out[0].DType == tensor.F32 {
		v = float64(float32(f(float64(float32(a)), float64(float32(b)))))
	}
	return r.fill(n, v, n.Out[0].Type)
}

// operand returns the other input where one is the number x and nothing is stretched.
func operand(n *graph.Node, x float64, alsoLeft bool) *graph.Value {
	if v, ok := number(n.In[1]); ok && v == x && n.In[0].Type.Equal(n.Out[0].Type) {
		return n.In[0]
	}
	if v, ok := number(n.In[0]); alsoLeft && ok && v == x && n.In[1].Type.Equal(n.Out[0].Type) {
		return n.In[1]
	}
	return nil
}

func simplerMul(r *rewriter, n *graph.Node) *graph.Value {
	if v := fold(r, n, func(a, b float64) float64 { return a * b }); v != nil {
		return v
	}
	return operand(n, 1, true)
}

func simplerDiv(r *rewriter, n *graph.Node) *graph.Value {
	if v := fold(r, n, func(a, b float64) float64 { return a / b }); v != nil {
		return v
	}
	return operand(n, 1, false)
}

func simplerAdd(r *rewriter, n *graph.Node) *graph.Value {
	if v := fold(r, n, func(a, b float64) float64 { return a + b }); v != nil {
		return v
	}
	return operand(n, 0, true)
}

// merge gives equal nodes (same op, attributes and inputs) one representative.
func merge(r *rewriter) {
	seen := map[string]*graph.Node{}
	for _, n := range r.g.Nodes {
		if n.Op.Leaf || len(n.Op.Mutates) > 0 {
			continue
		}
		key := fmt.Sprintf("%s %+v %v", n.Op.Name, n.Attrs, n.Again) // what is computed again is not to be kept
		for _, v := range n.In {
			key += fmt.Sprintf(" %d.%d", v.Node.ID, v.Index)
		}
		first := seen[key]
		if first == nil {
			seen[key] = n
			continue
		}
		for i, o := range n.Out {
			r.replace(o, first.Out[i])
		}
	}
}
