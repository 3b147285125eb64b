package graph

import (
	"fmt"

	"ringo/runtime/tensor"
)

// Binary ops with NumPy broadcasting, comparison, logic and selection.

// binaryInfer: both inputs of one type, the output of that type and the broadcast shape.
func binaryInfer(n *Node) ([]Type, error) {
	a, b := n.In[0], n.In[1]
	if a.DType != b.DType {
		return nil, fmt.Errorf("inputs are %v and %v: expected one element type", a.Type, b.Type)
	}
	s, err := tensor.Broadcast(a.Shape, b.Shape)
	return []Type{{a.DType, s}}, err
}

func compareInfer(n *Node) ([]Type, error) {
	t, err := binaryInfer(n)
	if err != nil {
		return nil, err
	}
	return []Type{{tensor.Bool, t[0].Shape}}, nil
}

func boolInfer(n *Node) ([]Type, error) {
	for i, v := range n.In {
		if v.DType != tensor.Bool {
			return nil, fmt.Errorf("input %d is %v: expected bool", i, v.Type)
		}
	}
	if len(n.In) == 1 {
		return sameAsInput(n)
	}
	return binaryInfer(n)
}

// powInfer: the exponent may have a type of its own; the result has the base's.
func powInfer(n *Node) ([]Type, error) {
	if n.In[0].DType == tensor.Bool || n.In[1].DType == tensor.Bool {
		return nil, fmt.Errorf("%v to the power of %v: expected numbers", n.In[0].Type, n.In[1].Type)
	}
	s, err := tensor.Broadcast(n.In[0].Shape, n.In[1].Shape)
	return []Type{{n.In[0].DType, s}}, err
}

func whereInfer(n *Node) ([]Type, error) {
	c, x, y := n.In[0], n.In[1], n.In[2]
	if c.DType != tensor.Bool || x.DType != y.DType {
		return nil, fmt.Errorf("inputs are %v, %v, %v: expected bool and two of one type", c.Type, x.Type, y.Type)
	}
	s, err := tensor.Broadcast(x.Shape, y.Shape)
	if err == nil {
		s, err = tensor.Broadcast(c.Shape, s)
	}
	return []Type{{x.DType, s}}, err
}

// pairs are the operand shapes that kernels treat apart: equal (at vector tails), scalar, a trailing
// suffix (bias), one per row, and general broadcasting.
var pairs = [][2]tensor.Shape{
	{{1}, {1}}, {{3}, {3}}, {{17}, {17}}, {{65}, {65}}, {{4, 17}, {}}, {{}, {17}}, {{3, 5, 17}, {17}}, {{65}, {3, 65}},
	{{2, 3, 5}, {3, 5}}, {{6, 17}, {6, 1}}, {{2, 3, 1}, {2, 3, 17}}, {{4, 1, 3}, {5, 1}}, {{2, 1, 3, 1}, {1, 4, 1, 5}},
}

// binarySamples covers pairs; the operands come from [lo,hi) and [lo2,hi2).
func binarySamples(lo, hi, lo2, hi2 float64) []Sample {
	var s []Sample
	for _, p := range pairs {
		s = append(s, Sample{Name: p[0].String() + p[1].String(),
			In: []SampleIn{InRange(lo, hi, p[0]...), InRange(lo2, hi2, p[1]...)}})
	}
	return s
}

func noGradSamples(why string, s []Sample) []Sample {
	for i := range s {
		s[i].NoGrad, s[i].Why = true, why
	}
	return s
}

func intSamples(dt tensor.DType, n int) []Sample {
	in := func(shape tensor.Shape) SampleIn { return SampleIn{Shape: shape, DType: dt, Max: n} }
	var s []Sample
	for _, p := range pairs[:6] {
		s = append(s, Sample{Name: dt.String() + p[0].String() + p[1].String(), In: []SampleIn{in(p[0]), in(p[1])}})
	}
	return noGradSamples("integers", s)
}

var inPlace2 = [][2]int{{0, 0}, {0, 1}}

// binary makes a row; d returns the cotangents at the output's shape, which are summed to the operands' shapes.
func binary(name string, samples []Sample, d func(g *Graph, a, b, y, dy *Value) (da, db *Value)) Op {
	return Op{Name: name, MinIn: 2, Infer: binaryInfer, InPlace: inPlace2,
		Samples: append(samples, intSamples(tensor.I32, 9)[:1]...),
		VJP: func(g *Graph, n *Node, dy []*Value) []*Value {
			da, db := d(g, n.In[0], n.In[1], n.Out[0], dy[0])
			return []*Value{g.sumToNonNil(da, n.In[0].Shape), g.sumToNonNil(db, n.In[1].Shape)}
		}}
}

func compare(name string) Op {
	return Op{Name: name, MinIn: 2, Infer: compareInfer, VJP: noGrad,
		Samples: append(noGradSamples("Bool output", binarySamples(-1, 1, -1, 1)), intSamples(tensor.I64, 3)...)}
}

func logic(name string) Op {
	return Op{Name: name, MinIn: 2, Infer: boolInfer, InPlace: inPlace2, Samples: intSamples(tensor.Bool, 2)}
}

func init() {
	all := func() []Sample { return binarySamples(-1, 1, -1, 1) }
	apart := func() []Sample { return binarySamples(-50, 50, -50, 50) } // operands hardly ever within a difference step
	pow := binary("pow", binarySamples(0.3, 2, -2, 3), powVJP)
	pow.Infer, pow.InPlace = powInfer, inPlace1
	register(
		binary("add", all(), func(g *Graph, a, b, y, dy *Value) (*Value, *Value) { return dy, dy }),
		binary("sub", all(), func(g *Graph, a, b, y, dy *Value) (*Value, *Value) { return dy, g.Neg(dy) }),
		// d(a·b) = b·dy, a·dy
		binary("mul", all(), func(g *Graph, a, b, y, dy *Value) (*Value, *Value) { return g.Mul(dy, b), g.Mul(dy, a) }),
		// d(a/b) = dy/b, −y·dy/b
		noIntSamples(binary("div", binarySamples(-1, 1, 0.5, 2), func(g *Graph, a, b, y, dy *Value) (*Value, *Value) {
			da := g.Div(dy, b)
			return da, g.Neg(g.Mul(da, y))
		})),
		pow,
		// Ties send the cotangent to a.
		binary("maximum", apart(), func(g *Graph, a, b, y, dy *Value) (*Value, *Value) {
			return g.route(g.Apply("ge", nil, a, b), dy)
		}),
		binary("minimum", apart(), func(g *Graph, a, b, y, dy *Value) (*Value, *Value) {
			return g.route(g.Apply("le", nil, a, b), dy)
		}),
		compare("eq"), compare("ne"), compare("lt"), compare("le"), compare("gt"), compare("ge"),
		logic("and"), logic("or"), logic("xor"),
		Op{Name: "where", MinIn: 3, Infer: whereInfer, VJP: whereVJP, InPlace: [][2]int{{0, 1}, {0, 2}}, Samples: whereSamples()},
	)
}

// noIntSamples drops the integer sample: it may divide by zero.
func noIntSamples(op Op) Op {
	op.Samples = op.Samples[:len(op.Samples)-1]
	return op
}

// d a^b = b·a^(b−1)·dy, y·ln a·dy; both 0 where the power rule meets 0·∞ (b = 0, a = 0), as PyTorch does.
func powVJP(g *Graph, a, b, y, dy *Value) (da, db *Value) {
	zero, e := g.Scalar(0, a.DType), b
	if b.DType != a.DType {
		e = g.Cast(b, a.DType)
	}
	da = g.Mul(dy, g.Mul(e, g.Pow(a, g.AddScalar(e, -1))))
	da = g.Where(g.Apply("eq", nil, e, zero), zero, da)
	if b.DType.IsFloat() {
		db = g.Where(g.Apply("eq", nil, a, zero), zero, g.Mul(dy, g.Mul(y, g.Log(a))))
		db = g.Cast(db, b.DType)
	}
	return da, db
}

// route splits dy: the first result keeps it where mask holds, the second elsewhere.
func (g *Graph) route(mask, dy *Value) (yes, no *Value) {
	zero := g.Scalar(0, dy.DType)
	return g.Where(mask, dy, zero), g.Where(mask, zero, dy)
}

func whereVJP(g *Graph, n *Node, dy []*Value) []*Value {
	dx, dz := g.route(n.In[0], dy[0])
	return []*Value{nil, g.SumTo(dx, n.In[1].Shape), g.SumTo(dz, n.In[2].Shape)}
}

func whereSamples() []Sample {
	c := func(shape ...int) SampleIn { return SampleIn{Shape: shape, DType: tensor.Bool} }
	return []Sample{
		{Name: "17", In: []SampleIn{c(17), In(17), In(17)}},
		{Name: "65 scalar", In: []SampleIn{c(65), In(65), In()}},
		{Name: "scalar 65", In: []SampleIn{c(65), In(), In(65)}},
		{Name: "broadcast", In: []SampleIn{c(4, 1), In(3), In(2, 1, 3)}},
		{Name: "causal", In: []SampleIn{c(5, 5), In(2, 5, 5), In(1)}},
	}
}

func (g *Graph) sumToNonNil(v *Value, shape tensor.Shape) *Value {
	if v == nil {
		return nil
	}
	return g.SumTo(v, shape)
}

// Add returns a + b, broadcast.
func (g *Graph) Add(a, b *Value) *Value { return g.Apply("add", nil, a, b) }

// Sub returns a − b, broadcast.
func (g *Graph) Sub(a, b *Value) *Value { return g.Apply("sub", nil, a, b) }

// Mul returns a · b element by element, broadcast.
func (g *Graph) Mul(a, b *Value) *Value { return g.Apply("mul", nil, a, b) }

// Div returns a / b, broadcast.
func (g *Graph) Div(a, b *Value) *Value { return g.Apply("div", nil, a, b) }

// Pow returns a to the power of b, broadcast, in a's element type.
func (g *Graph) Pow(a, b *Value) *Value { return g.Apply("pow", nil, a, b) }

// Maximum returns the larger of a and b, broadcast.
func (g *Graph) Maximum(a, b *Value) *Value { return g.Apply("maximum", nil, a, b) }

// Minimum returns the smaller of a and b, broadcast.
func (g *Graph) Minimum(a, b *Value) *Value { return g.Apply("minimum", nil, a, b) }

// Compare applies one of eq, ne, lt, le, gt, ge and returns Bool.
func (g *Graph) Compare(op string, a, b *Value) *Value { return g.Apply(op, nil, a, b) }

// Where returns x where cond (Bool) holds and y elsewhere, broadcast.
func (g *Graph) Where(cond, x, y *Value) *Value { return g.Apply("where", nil, cond, x, y) }

// Scale returns s·x.
func (g *Graph) Scale(x *Value, s float64) *Value { return g.Mul(x, g.Scalar(s, x.DType)) }

// AddScalar returns x + s.
func (g *Graph) AddScalar(x *Value, s float64) *Value { return g.Add(x, g.Scalar(s, x.DType)) }
