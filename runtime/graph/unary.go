package graph

import (
	"fmt"
	"math"

	"ringo/runtime/tensor"
)

// Gelu is the attribute struct of "gelu" and "gelu_grad": the exact form x·Φ(x), or its tanh approximation
// (Hendrycks & Gimpel 2016, section 2), which GPT-2 uses.
type Gelu struct{ Tanh bool }

// Clip is the attribute struct of "clip": y = min(max(x, Lo), Hi); ±Inf leaves a side open.
type Clip struct{ Lo, Hi float64 }

// Cast is the attribute struct of "cast".
type Cast struct{ To tensor.DType }

// sameAsInput is the shape rule of unary ops: y has x's type.
func sameAsInput(n *Node) ([]Type, error) { return []Type{n.In[0].Type}, nil }

// floatUnary is sameAsInput for functions that only floats have.
func floatUnary(n *Node) ([]Type, error) {
	if _, err := sameFloat(n); err != nil {
		return nil, err
	}
	return sameAsInput(n)
}

// unaryGrad is the shape rule of fused gradients (x, dy) → dx: all of one float type and shape.
func unaryGrad(n *Node) ([]Type, error) {
	if _, err := sameFloat(n); err != nil {
		return nil, err
	}
	if !n.In[0].Shape.Equal(n.In[1].Shape) {
		return nil, fmt.Errorf("x is %v, dy is %v: expected equal shapes", n.In[0].Type, n.In[1].Type)
	}
	return sameAsInput(n)
}

// boolUnary is the shape rule of isnan and isinf.
func boolUnary(n *Node) ([]Type, error) { return []Type{{tensor.Bool, n.In[0].Shape}}, nil }

func castInfer(n *Node) ([]Type, error) {
	to := attrs[Cast](n).To
	if to == tensor.Invalid || to > tensor.Bool {
		return nil, fmt.Errorf("cast to %v: expected an element type", to)
	}
	return []Type{{to, n.In[0].Shape}}, nil
}

// vjp1 wraps the derivative of a unary op: d(g, x, y, dy) → dx.
func vjp1(d func(g *Graph, x, y, dy *Value) *Value) func(*Graph, *Node, []*Value) []*Value {
	return func(g *Graph, n *Node, dy []*Value) []*Value {
		return []*Value{d(g, n.In[0], n.Out[0], dy[0])}
	}
}

// noGrad is the VJP of functions whose derivative is 0 wherever it exists.
func noGrad(g *Graph, n *Node, dy []*Value) []*Value { return make([]*Value, len(n.In)) }

// tails are shapes around vector widths (1, 3, 17, 65) and one with two dimensions.
func tails(lo, hi float64) []Sample {
	var s []Sample
	for _, shape := range []tensor.Shape{{1}, {3}, {17}, {65}, {5, 33}} {
		s = append(s, Sample{Name: shape.String(), In: []SampleIn{InRange(lo, hi, shape...)}})
	}
	return s
}

// pairTails is tails for two inputs of one shape, with attributes.
func pairTails(lo, hi float64, attrs any) []Sample {
	s := tails(lo, hi)
	for i := range s {
		s[i].In = append(s[i].In, In(s[i].In[0].Shape...))
		s[i].Attrs = attrs
	}
	return s
}

func withAttrs(attrs any, name string, s []Sample) []Sample {
	for i := range s {
		s[i].Attrs, s[i].Name = attrs, name+s[i].Name
	}
	return s
}

// inPlace1 lets a unary op write over its input.
var inPlace1 = [][2]int{{0, 0}}

func unary(name string, lo, hi float64, d func(g *Graph, x, y, dy *Value) *Value) Op {
	return Op{Name: name, MinIn: 1, Infer: floatUnary, VJP: vjp1(d), InPlace: inPlace1, Samples: tails(lo, hi)}
}

// unaryAny is unary for functions that integers have too.
func unaryAny(name string, lo, hi float64, d func(g *Graph, x, y, dy *Value) *Value) Op {
	op := unary(name, lo, hi, d)
	op.Infer = sameAsInput
	op.Samples = append(op.Samples, Sample{Name: "i32", In: []SampleIn{InIndex(9, 5)}, NoGrad: true, Why: "integers"})
	return op
}

func step(name string) Op {
	return Op{Name: name, MinIn: 1, Infer: floatUnary, VJP: noGrad, InPlace: inPlace1, Samples: tails(-5, 5)}
}

func init() {
	register(
		// d(−x) = −dy
		unaryAny("neg", -2, 2, func(g *Graph, x, y, dy *Value) *Value { return g.Neg(dy) }),
		// d|x| = sign(x)·dy
		unaryAny("abs", -2, 2, func(g *Graph, x, y, dy *Value) *Value { return g.Mul(g.Sign(x), dy) }),
		// d√x = dy / 2√x
		unary("sqrt", 0.1, 4, func(g *Graph, x, y, dy *Value) *Value { return g.Div(g.Scale(dy, 0.5), y) }),
		// d x^(−1/2) = −½·x^(−3/2)·dy = −½·y³·dy
		unary("rsqrt", 0.1, 4, func(g *Graph, x, y, dy *Value) *Value {
			return g.Scale(g.Mul(g.Mul(g.Square(y), y), dy), -0.5)
		}),
		// d e^x = y·dy
		unary("exp", -4, 4, func(g *Graph, x, y, dy *Value) *Value { return g.Mul(y, dy) }),
		// d ln x = dy/x
		unary("log", 0.05, 4, func(g *Graph, x, y, dy *Value) *Value { return g.Div(dy, x) }),
		// d max(x,0) = [x>0]·dy. The mask is read off y, as y>0 exactly where x>0: x need not be kept.
		unaryAny("relu", -2, 2, func(g *Graph, x, y, dy *Value) *Value { return g.Apply("relu_grad", nil, y, dy) }),
		unary("silu", -8, 8, func(g *Graph, x, y, dy *Value) *Value { return g.Apply("silu_grad", nil, x, dy) }),
		// d tanh x = (1 − y²)·dy
		unary("tanh", -4, 4, func(g *Graph, x, y, dy *Value) *Value { return g.Sub(dy, g.Mul(dy, g.Square(y))) }),
		// d σ(x) = σ(1 − σ)·dy
		unary("sigmoid", -8, 8, func(g *Graph, x, y, dy *Value) *Value {
			t := g.Mul(dy, y)
			return g.Sub(t, g.Mul(t, y))
		}),
		// d erf x = 2/√π · e^(−x²) · dy
		unary("erf", -3, 3, func(g *Graph, x, y, dy *Value) *Value {
			return g.Scale(g.Mul(g.Exp(g.Neg(g.Square(x))), dy), 2/math.Sqrt(math.Pi))
		}),
		// d x² = 2x·dy
		unaryAny("square", -2, 2, func(g *Graph, x, y, dy *Value) *Value { return g.Scale(g.Mul(x, dy), 2) }),
		// d 1/x = −y²·dy
		unary("reciprocal", 0.2, 3, func(g *Graph, x, y, dy *Value) *Value { return g.Neg(g.Mul(g.Square(y), dy)) }),
		// d ln(1+e^x) = σ(x)·dy
		unary("softplus", -8, 8, func(g *Graph, x, y, dy *Value) *Value { return g.Mul(g.Sigmoid(x), dy) }),
		// copy: y = x in memory of its own
		unaryAny("copy", -1, 1, func(g *Graph, x, y, dy *Value) *Value { return dy }),
		step("floor"), step("ceil"), step("round"), // round: ties to even, as ONNX
		Op{Name: "sign", MinIn: 1, Infer: sameAsInput, VJP: noGrad, InPlace: inPlace1, Samples: tails(-1, 1)},
		Op{Name: "not", MinIn: 1, Infer: boolInfer, InPlace: inPlace1, Samples: []Sample{
			{In: []SampleIn{{Shape: tensor.Shape{17}, DType: tensor.Bool}}, NoGrad: true, Why: "Bool"}}},
		Op{Name: "isnan", MinIn: 1, Infer: boolUnary, Samples: []Sample{{In: []SampleIn{In(17)}, NoGrad: true, Why: "Bool output"}}},
		Op{Name: "isinf", MinIn: 1, Infer: boolUnary, Samples: []Sample{{In: []SampleIn{In(17)}, NoGrad: true, Why: "Bool output"}}},
		Op{Name: "gelu", MinIn: 1, Infer: floatUnary, InPlace: inPlace1,
			VJP: func(g *Graph, n *Node, dy []*Value) []*Value {
				return []*Value{g.Apply("gelu_grad", n.Attrs, n.In[0], dy[0])}
			},
			Samples: append(withAttrs(Gelu{}, "erf", tails(-6, 6)), withAttrs(Gelu{Tanh: true}, "tanh", tails(-6, 6))...)},
		Op{Name: "clip", MinIn: 1, Infer: sameAsInput, VJP: clipVJP, InPlace: inPlace1,
			Samples: withAttrs(Clip{-0.5, 0.75}, "", tails(-1, 1))},
		Op{Name: "cast", MinIn: 1, Infer: castInfer, VJP: castVJP, FLOPs: noFLOPs, Samples: []Sample{
			{Name: "f64", In: []SampleIn{In(17)}, Attrs: Cast{tensor.F64}},
			{Name: "i32", In: []SampleIn{InRange(-9, 9, 17)}, Attrs: Cast{tensor.I32}, NoGrad: true, Why: "integer output"},
			{Name: "from i64", In: []SampleIn{{Shape: tensor.Shape{17}, DType: tensor.I64, Max: 99}}, Attrs: Cast{tensor.F32}, NoGrad: true, Why: "integer input"},
			{Name: "bf16", In: []SampleIn{In(65)}, Attrs: Cast{tensor.BF16}, NoGrad: true, Why: "rounding is a step function"},
			{Name: "from bf16", In: []SampleIn{{Shape: tensor.Shape{65}, DType: tensor.BF16}}, Attrs: Cast{tensor.F32}, NoGrad: true, Why: "rounding is a step function"},
		}},
	)
	registerUnaryGrads()
}

func noFLOPs(*Node) int64 { return 0 }

// d min(max(x,Lo),Hi) = [Lo ≤ x ≤ Hi]·dy
func clipVJP(g *Graph, n *Node, dy []*Value) []*Value {
	x, a := n.In[0], attrs[Clip](n)
	inside := g.Apply("and", nil,
		g.Apply("ge", nil, x, g.Scalar(a.Lo, x.DType)), g.Apply("le", nil, x, g.Scalar(a.Hi, x.DType)))
	return []*Value{g.Where(inside, dy[0], g.Scalar(0, x.DType))}
}

// The cotangent is cast back; to and from integers there is none.
func castVJP(g *Graph, n *Node, dy []*Value) []*Value {
	if !n.In[0].DType.IsFloat() || !n.Out[0].DType.IsFloat() {
		return []*Value{nil}
	}
	return []*Value{g.Cast(dy[0], n.In[0].DType)}
}

// Neg returns −x.
func (g *Graph) Neg(x *Value) *Value { return g.Apply("neg", nil, x) }

// Abs returns |x|.
func (g *Graph) Abs(x *Value) *Value { return g.Apply("abs", nil, x) }

// Sqrt returns √x.
func (g *Graph) Sqrt(x *Value) *Value { return g.Apply("sqrt", nil, x) }

// Rsqrt returns 1/√x.
func (g *Graph) Rsqrt(x *Value) *Value { return g.Apply("rsqrt", nil, x) }

// Exp returns e^x.
func (g *Graph) Exp(x *Value) *Value { return g.Apply("exp", nil, x) }

// Log returns the natural logarithm of x.
func (g *Graph) Log(x *Value) *Value { return g.Apply("log", nil, x) }

// Relu returns max(x, 0).
func (g *Graph) Relu(x *Value) *Value { return g.Apply("relu", nil, x) }

// Gelu returns x·Φ(x), or its tanh approximation.
func (g *Graph) Gelu(x *Value, tanh bool) *Value { return g.Apply("gelu", Gelu{tanh}, x) }

// Silu returns x·σ(x).
func (g *Graph) Silu(x *Value) *Value { return g.Apply("silu", nil, x) }

// Tanh returns the hyperbolic tangent of x.
func (g *Graph) Tanh(x *Value) *Value { return g.Apply("tanh", nil, x) }

// Sigmoid returns σ(x) = 1/(1+e^(−x)).
func (g *Graph) Sigmoid(x *Value) *Value { return g.Apply("sigmoid", nil, x) }

// Softplus returns ln(1+e^x).
func (g *Graph) Softplus(x *Value) *Value { return g.Apply("softplus", nil, x) }

// Erf returns the error function of x.
func (g *Graph) Erf(x *Value) *Value { return g.Apply("erf", nil, x) }

// Square returns x².
func (g *Graph) Square(x *Value) *Value { return g.Apply("square", nil, x) }

// Sign returns −1, 0 or 1.
func (g *Graph) Sign(x *Value) *Value { return g.Apply("sign", nil, x) }

// Reciprocal returns 1/x.
func (g *Graph) Reciprocal(x *Value) *Value { return g.Apply("reciprocal", nil, x) }

// Not returns the negation of a Bool.
func (g *Graph) Not(x *Value) *Value { return g.Apply("not", nil, x) }

// Copy returns x in memory of its own.
func (g *Graph) Copy(x *Value) *Value { return g.Apply("copy", nil, x) }

// Clip returns x limited to [lo, hi].
func (g *Graph) Clip(x *Value, lo, hi float64) *Value { return g.Apply("clip", Clip{lo, hi}, x) }

// Cast returns x as element type dt, and x itself where it has that type.
func (g *Graph) Cast(x *Value, dt tensor.DType) *Value {
	if x.DType == dt {
		return x
	}
	return g.Apply("cast", Cast{dt}, x)
}
