package graph

import "fmt"

// Gradient adds the nodes of reverse-mode differentiation of loss (a scalar) and returns d loss/d wrt,
// nil where loss does not depend on a value. seed is the cotangent of loss itself, usually 1/lanes.
func (g *Graph) Gradient(loss *Value, seed float64, wrt []*Value) (grads []*Value, err error) {
	defer func() {
		switch e := recover().(type) {
		case nil:
		case *Error:
			err = fmt.Errorf("differentiating: %w", e)
		default:
			panic(e)
		}
	}()
	if loss.Shape.Size() != 1 {
		return nil, &Error{loss.Node.Op.Name, loss.Node.Name, fmt.Errorf("loss has shape %v, expected a scalar", loss.Shape)}
	}
	need := g.reaches(wrt)
	if !need[loss] {
		return make([]*Value, len(wrt)), nil
	}
	g.back = true
	defer func() { g.back = false }()
	cot := map[*Value]*Value{loss: g.Fill(seed, loss.DType, loss.Shape...)}
	for i := loss.Node.ID; i >= 0; i-- {
		g.backward(g.Nodes[i], need, cot)
	}
	for _, w := range wrt {
		grads = append(grads, cot[w])
	}
	return grads, nil
}

// reaches marks every value that depends on one of wrt.
func (g *Graph) reaches(wrt []*Value) map[*Value]bool {
	need := map[*Value]bool{}
	for _, w := range wrt {
		need[w] = true
	}
	for _, n := range g.Nodes {
		for _, v := range n.In {
			if need[v] {
				for _, o := range n.Out {
					if o.DType.IsFloat() {
						need[o] = true
					}
				}
				break
			}
		}
	}
	return need
}

// backward sends the cotangents of n's outputs to its inputs.
func (g *Graph) backward(n *Node, need map[*Value]bool, cot map[*Value]*Value) {
	dy := make([]*Value, len(n.Out))
	any := false
	for i, o := range n.Out {
		dy[i] = cot[o]
		any = any || dy[i] != nil
	}
	wanted := false
	for _, v := range n.In {
		wanted = wanted || need[v]
	}
	if !any || !wanted {
		return
	}
	if n.Op.VJP == nil {
		panic(&Error{n.Op.Name, n.Name, fmt.Errorf("the op has no derivative")})
	}
	scope := g.scope
	g.scope = []string{n.Name + "'"}
	for i, d := range n.Op.VJP(g, n, dy) {
		v := n.In[i]
		if d == nil || !need[v] {
			continue
		}
		if !d.Type.Equal(v.Type) {
			panic(&Error{n.Op.Name, n.Name, fmt.Errorf("cotangent of input %d is %v, expected %v", i, d.Type, v.Type)})
		}
		if old := cot[v]; old != nil {
			d = g.Apply("add", nil, old, d)
		}
		cot[v] = d
	}
	g.scope = scope
}
