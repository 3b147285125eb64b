package graph

import (
	"fmt"
	"math"
)

// Fused gradients of activations, and gated activations.

func registerUnaryGrads() {
	register(
		// relu_grad(y, dy) = [y>0]·dy; y may be relu's input or its output.
		Op{Name: "relu_grad", MinIn: 2, Infer: unaryGrad, InPlace: [][2]int{{0, 1}, {0, 0}}, Samples: pairTails(-1, 1, nil),
			VJP: func(g *Graph, n *Node, dd []*Value) []*Value {
				return []*Value{nil, g.Apply("relu_grad", nil, n.In[0], dd[0])}
			}},
		// gelu_grad(x, dy) = gelu'(x)·dy
		Op{Name: "gelu_grad", MinIn: 2, Infer: unaryGrad, InPlace: [][2]int{{0, 1}, {0, 0}},
			Samples: append(withAttrs(Gelu{}, "erf", pairTails(-5, 5, nil)), withAttrs(Gelu{Tanh: true}, "tanh", pairTails(-5, 5, nil))...),
			VJP: func(g *Graph, n *Node, dd []*Value) []*Value {
				x, dy := n.In[0], n.In[1]
				second := geluSecond(g, x)
				if attrs[Gelu](n).Tanh {
					second = geluTanhSecond(g, x)
				}
				return []*Value{g.Mul(g.Mul(dd[0], dy), second), g.Apply("gelu_grad", n.Attrs, x, dd[0])}
			}},
		// silu_grad(x, dy) = σ(1 + x(1−σ))·dy
		Op{Name: "silu_grad", MinIn: 2, Infer: unaryGrad, InPlace: [][2]int{{0, 1}, {0, 0}}, Samples: pairTails(-6, 6, nil),
			VJP: func(g *Graph, n *Node, dd []*Value) []*Value {
				x, dy := n.In[0], n.In[1]
				return []*Value{g.Mul(g.Mul(dd[0], dy), siluSecond(g, x)), g.Apply("silu_grad", nil, x, dd[0])}
			}},
		// swiglu(gate|up) = silu(gate)·up (Shazeer 2020); the halves lie side by side in the last axis.
		Op{Name: "swiglu", MinIn: 1, Infer: swigluInfer, FLOPs: func(n *Node) int64 { return 4 * int64(n.Out[0].Shape.Size()) },
			Samples: []Sample{{In: []SampleIn{InRange(-4, 4, 3, 34)}}, {In: []SampleIn{InRange(-4, 4, 2)}}, {In: []SampleIn{InRange(-4, 4, 2, 3, 130)}}},
			VJP: func(g *Graph, n *Node, dy []*Value) []*Value {
				return []*Value{g.Apply("swiglu_grad", nil, n.In[0], dy[0])}
			}},
		// swiglu_grad(gate|up, dy) = [silu'(gate)·up·dy | silu(gate)·dy]
		Op{Name: "swiglu_grad", MinIn: 2, Infer: swigluGradInfer, VJP: swigluGradVJP, InPlace: inPlace1,
			FLOPs:   func(n *Node) int64 { return 4 * int64(n.Out[0].Shape.Size()) },
			Samples: []Sample{{In: []SampleIn{InRange(-4, 4, 3, 34), In(3, 17)}}, {In: []SampleIn{InRange(-4, 4, 2), In(1)}}, {In: []SampleIn{InRange(-4, 4, 2, 3, 130), In(2, 3, 65)}}}},
	)
}

// gelu” = φ(x)·(2 − x²), φ the standard normal density
func geluSecond(g *Graph, x *Value) *Value {
	x2 := g.Square(x)
	phi := g.Scale(g.Exp(g.Scale(x2, -0.5)), 1/math.Sqrt(2*math.Pi))
	return g.Mul(phi, g.AddScalar(g.Neg(x2), 2))
}

// With u = √(2/π)(x + 0.044715x³), t = tanh u:
// gelu” = (1−t²)·(u' + ½x·u” − x·t·u'²)
func geluTanhSecond(g *Graph, x *Value) *Value {
	k, c := math.Sqrt(2/math.Pi), 0.044715
	x2 := g.Square(x)
	t := g.Tanh(g.Scale(g.Mul(x, g.AddScalar(g.Scale(x2, c), 1)), k))
	du := g.Scale(g.AddScalar(g.Scale(x2, 3*c), 1), k)
	ddu := g.Scale(x, 6*k*c)
	sum := g.Sub(g.Add(du, g.Scale(g.Mul(x, ddu), 0.5)), g.Mul(g.Mul(x, t), g.Square(du)))
	return g.Mul(g.AddScalar(g.Neg(g.Square(t)), 1), sum)
}

// silu” = σ(1−σ)·(2 + x(1−2σ))
func siluSecond(g *Graph, x *Value) *Value {
	s := g.Sigmoid(x)
	return g.Mul(g.Sub(s, g.Square(s)), g.AddScalar(g.Mul(x, g.AddScalar(g.Scale(s, -2), 1)), 2))
}

func swigluInfer(n *Node) ([]Type, error) {
	x := n.In[0]
	r := len(x.Shape)
	if !x.DType.IsFloat() || r == 0 || x.Shape[r-1]%2 != 0 {
		return nil, fmt.Errorf("gate|up is %v: expected floats with an even last dimension", x.Type)
	}
	s := x.Shape.Clone()
	s[r-1] /= 2
	return []Type{{x.DType, s}}, nil
}

func swigluGradInfer(n *Node) ([]Type, error) {
	y, err := swigluInfer(n)
	if err != nil {
		return nil, err
	}
	if !n.In[1].Type.Equal(y[0]) {
		return nil, fmt.Errorf("dy is %v, expected %v", n.In[1].Type, y[0])
	}
	return sameAsInput(n)
}

// With gate a, up b, and cotangents (p|q) of the output's halves:
// ddy = p·b·silu'(a) + q·silu(a);  da = p·dy·b·silu”(a) + q·dy·silu'(a);  db = p·dy·silu'(a)
func swigluGradVJP(g *Graph, n *Node, dd []*Value) []*Value {
	dy, axis := n.In[1], len(n.In[1].Shape)-1
	half := dy.Shape[axis]
	split := func(v *Value) (lo, hi *Value) {
		return g.SliceAxis(v, axis, 0, half), g.SliceAxis(v, axis, half, 2*half)
	}
	a, b := split(n.In[0])
	p, q := split(dd[0])
	grad := func(d *Value) *Value { return g.Apply("silu_grad", nil, a, d) }
	pdy := g.Mul(p, dy)
	da := g.Add(g.Mul(g.Mul(pdy, b), siluSecond(g, a)), grad(g.Mul(q, dy)))
	return []*Value{
		g.Concat(axis, da, grad(pdy)),
		g.Add(grad(g.Mul(p, b)), g.Mul(q, g.Silu(a))),
	}
}

// Swiglu returns silu(gate)·up for gate and up side by side in the last axis: (…, 2F) → (…, F).
func (g *Graph) Swiglu(gateUp *Value) *Value { return g.Apply("swiglu", nil, gateUp) }
