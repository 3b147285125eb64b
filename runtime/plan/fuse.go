package plan

import (
	"slices"

	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

// fuseLoss computes the classifier's loss and its gradient in one sweep over the logits, in place: the
// cotangent of the loss is a number known now. The fused node stands where the gradient stood, behind every
// other reader of the logits.
func fuseLoss(g *graph.Graph, s *state) error {
	r := newRewriter(g, s)
	for _, n := range slices.Clone(g.Nodes) {
		if n.Op.Name != "cross_entropy_grad" {
			continue
		}
		seed, ok := number(n.In[0])
		fwd := n.In[3].Node
		if !ok || fwd.Op.Name != "cross_entropy" || !r.only(n.In[3]) {
			continue
		}
		a := n.Attrs.(graph.CrossEntropy)
		a.Seed = seed
		out := r.add(n, "cross_entropy_fused", a, n.In[1], n.In[2])
		r.replace(fwd.Out[0], out[0])
		r.replace(n.Out[0], out[1])
	}
	r.finish()
	return nil
}

// fuseEpilogue moves activations, their gradients and residual sums into the matrix product or convolution
// that feeds them, where its tile still lies in cache.
func fuseEpilogue(g *graph.Graph, s *state) error {
	r := newRewriter(g, s)
	for _, n := range slices.Clone(g.Nodes) {
		if r.uses[n.Out[0]] == 0 {
			continue
		}
		switch n.Op.Name {
		case "relu", "gelu", "silu":
			fuseActivation(r, n)
		case "relu_grad", "gelu_grad", "silu_grad":
			fuseActGrad(r, n)
		}
	}
	r.finish()
	r = newRewriter(g, s)
	for _, n := range slices.Clone(g.Nodes) {
		if n.Op.Name == "add" && r.uses[n.Out[0]] > 0 {
			fuseSum(r, n)
		}
	}
	r.finish()
	return nil
}

// keepSlopes runs keepSlope over the graph. Devices whose library has the activation's gradient in its products leave it out.
func keepSlopes(g *graph.Graph, s *state) error {
	r := newRewriter(g, s)
	for _, n := range g.Nodes {
		keepSlope(r, n)
	}
	r.finish()
	return nil
}

// keepSlope: where the sum before an activation is kept for the activation's gradient alone, the product that computes both the
// sum and the activation keeps the derivative at that place; backward multiplies by it.
func keepSlope(r *rewriter, n *graph.Node) {
	a, ok := n.Attrs.(graph.MatMul)
	if !ok || a.ActGrad == "" {
		return
	}
	pre := n.In[2]
	if a.Bias {
		pre = n.In[3]
	}
	pre = r.behindReshapes(pre)
	m, ok := pre.Node.Attrs.(graph.MatMul)
	if !ok || pre.Index != 1 || !m.KeepPre || m.Slope || m.Act != a.ActGrad || !r.only(pre) {
		return
	}
	m.Slope, a.ActGrad = true, "slope"
	pre.Node.Attrs, n.Attrs = m, a
}

// actName names the activation of an elementwise node as MatMul.Act spells it.
func actName(n *graph.Node) string {
	switch n.Op.Name {
	case "relu", "relu_grad":
		return "relu"
	case "silu", "silu_grad":
		return "silu"
	}
	if n.Attrs.(graph.Gelu).Tanh {
		return "gelu_tanh"
	}
	return "gelu"
}

// fuseActivation: act(matmul(…)) becomes matmul with Act. Where the activation's gradient reads the sum
// before the activation, the product keeps it as a second output; relu's gradient reads the result instead,
// which is positive exactly where the sum is.
func fuseActivation(r *rewriter, n *graph.Node) {
	x := n.In[0]
	m := x.Node
	var out []*graph.Value
	switch a := m.Attrs.(type) {
	case graph.MatMul:
		if a.Act != "" || a.ActGrad != "" || a.Residual || a.KeepPre {
			return
		}
		a.Act = actName(n)
		if a.Act == "relu" {
			reluFromResult(r, n)
		}
		a.KeepPre = !r.only(x)
		out = r.add(m, "matmul", a, m.In...)
	case graph.Conv2D:
		if a.Act != "" || n.Op.Name != "relu" {
			return
		}
		reluFromResult(r, n)
		if !r.only(x) {
			return
		}
		a.Act = "relu"
		out = r.add(m, "conv2d", a, m.In...)
	default:
		return
	}
	r.replace(n.Out[0], out[0])
	if len(out) > 1 {
		r.replace(x, out[1])
	}
}

// reluFromResult makes the gradients of a relu read its result in place of its input.
func reluFromResult(r *rewriter, n *graph.Node) {
	for _, g := range r.readers(n.In[0]) {
		if g.Op.Name == "relu_grad" && g.In[0] == n.In[0] {
			g.In[0] = n.Out[0]
			r.uses[n.In[0]]--
			r.uses[n.Out[0]]++
		}
	}
}

// fuseActGrad: act_grad(pre, matmul(dy, w)) becomes matmul with ActGrad.
func fuseActGrad(r *rewriter, n *graph.Node) {
	pre, d := n.In[0], n.In[1]
	y := r.behindReshapes(d)
	m := y.Node
	a, ok := m.Attrs.(graph.MatMul)
	if !ok || a.Act != "" || a.ActGrad != "" || a.Residual || a.KeepPre || a.Bias || !r.only(y) || !pre.Shape.Equal(d.Shape) {
		return
	}
	a.ActGrad = actName(n)
	out := r.add(n, "matmul", a, append(slices.Clone(m.In), r.shaped(n, pre, y.Shape))...)
	r.replace(n.Out[0], r.shaped(n, out[0], d.Shape))
}

// behindReshapes returns the value that v only gives another shape.
func (r *rewriter) behindReshapes(v *graph.Value) *graph.Value {
	for v.Node.Op.Name == "reshape" && r.only(v) {
		v = v.Node.In[0]
	}
	return v
}

// shaped returns v with another shape of equal size.
func (r *rewriter) shaped(at *graph.Node, v *graph.Value, shape tensor.Shape) *graph.Value {
	if v.Shape.Equal(shape) {
		return v
	}
	return r.add(at, "reshape", graph.Reshape{Shape: shape.Clone()}, v)[0]
}

// fuseSum: residual + matmul(…) becomes matmul with Residual: the sum is written once, not read again. The
// product moves to where the sum stood, so that the residual is there.
func fuseSum(r *rewriter, n *graph.Node) {
	for i := range n.In {
		d, res := n.In[1-i], n.In[i]
		x := r.behindReshapes(d)
		m := x.Node
		a, ok := m.Attrs.(graph.MatMul)
		if !ok || m.Op.Name != "matmul" || x.Index != 0 || a.KeepPre || a.Residual || !r.only(x) || !res.Type.Equal(d.Type) || res == d {
			continue
		}
		if _, isFill := number(res); isFill {
			continue
		}
		a.Residual = true
		out := r.add(n, "matmul", a, append(slices.Clone(m.In), r.shaped(n, res, x.Shape))...)
		r.replace(n.Out[0], r.shaped(n, out[0], d.Shape))
		return
	}
}

// fuseResidual joins norms with the sums around them: the gradient that arrives past a norm is added while
// the norm's own input gradient is written.
func fuseResidual(g *graph.Graph, s *state) error {
	r := newRewriter(g, s)
	for _, n := range slices.Clone(g.Nodes) {
		if n.Op.Name == "add" && r.uses[n.Out[0]] > 0 {
			fuseNormGrad(r, n)
		}
	}
	r.finish()
	return nil
}

// normGradArity is the number of inputs of a norm's gradient before the optional residual cotangent.
var normGradArity = map[string]int{"layernorm_grad": 5, "rmsnorm_grad": 4}

func fuseNormGrad(r *rewriter, n *graph.Node) {
	for i := range n.In {
		dx, res := n.In[i], n.In[1-i]
		m := dx.Node
		arity, isGrad := normGradArity[m.Op.Name]
		if !isGrad || arity != len(m.In) || dx.Index != 0 || !r.only(dx) || !res.Type.Equal(dx.Type) || dependsOn(res, m) {
			continue
		}
		out := r.add(n, m.Op.Name, m.Attrs, append(slices.Clone(m.In), res)...)
		r.replace(n.Out[0], out[0])
		for k := 1; k < len(out); k++ {
			r.replace(m.Out[k], out[k])
		}
		return
	}
}

// dependsOn reports whether v is computed from a result of n: fusing the two would close a cycle.
func dependsOn(v *graph.Value, n *graph.Node) bool {
	seen := map[*graph.Node]bool{}
	var walk func(m *graph.Node) bool
	walk = func(m *graph.Node) bool {
		if m == n {
			return true
		}
		if seen[m] {
			return false
		}
		seen[m] = true
		return slices.ContainsFunc(m.In, func(v *graph.Value) bool { return walk(v.Node) })
	}
	return walk(v.Node)
}
