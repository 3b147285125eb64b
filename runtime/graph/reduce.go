package graph

import (
	"fmt"

	"ringo/runtime/tensor"
)

// Reduce is the attribute struct of sum, mean, max, min and prod: the axes to reduce (negative ones count
// from the end; none means all) and whether they stay with size 1.
type Reduce struct {
	Axes []int
	Keep bool
}

// ArgMax is the attribute struct of "argmax"; of equal elements the first wins, with Last the last.
type ArgMax struct {
	Axis       int
	Keep, Last bool
}

// TopK is the attribute struct of "topk": the K largest (or smallest) along Axis, best first, of equal
// elements the one with the lower index first.
type TopK struct {
	K, Axis  int
	Smallest bool
}

// Reduced says for each axis of shape whether it is reduced.
func (r Reduce) Reduced(shape tensor.Shape) ([]bool, error) {
	out := make([]bool, len(shape))
	for _, a := range r.Axes {
		i, err := shape.Axis(a)
		if err != nil {
			return nil, err
		}
		if out[i] {
			return nil, fmt.Errorf("axis %d is listed twice in %v", a, r.Axes)
		}
		out[i] = true
	}
	if len(r.Axes) == 0 {
		for i := range out {
			out[i] = true
		}
	}
	return out, nil
}

// kept is shape with the reduced axes set to 1.
func kept(shape tensor.Shape, reduced []bool) tensor.Shape {
	s := shape.Clone()
	for i, r := range reduced {
		if r {
			s[i] = 1
		}
	}
	return s
}

func reduceInfer(n *Node) ([]Type, error) {
	x, a := n.In[0], attrs[Reduce](n)
	reduced, err := a.Reduced(x.Shape)
	if err != nil {
		return nil, err
	}
	out := tensor.Shape{}
	for i, d := range x.Shape {
		switch {
		case !reduced[i]:
			out = append(out, d)
		case a.Keep:
			out = append(out, 1)
		}
	}
	return []Type{{x.DType, out}}, nil
}

func argmaxInfer(n *Node) ([]Type, error) {
	a := attrs[ArgMax](n)
	axis, err := n.In[0].Shape.Axis(a.Axis)
	if err != nil {
		return nil, err
	}
	if n.In[0].Shape[axis] == 0 {
		return nil, fmt.Errorf("axis %d of %v is empty: nothing is largest", axis, n.In[0].Type)
	}
	s := n.In[0].Shape.Clone()
	s[axis] = 1
	if !a.Keep {
		s = append(s[:axis], s[axis+1:]...)
	}
	return []Type{{tensor.I64, s}}, nil
}

func topkInfer(n *Node) ([]Type, error) {
	a := attrs[TopK](n)
	axis, err := n.In[0].Shape.Axis(a.Axis)
	if err != nil {
		return nil, err
	}
	if a.K < 0 || a.K > n.In[0].Shape[axis] {
		return nil, fmt.Errorf("k is %d, axis %d of %v has %d: expected 0 to that", a.K, axis, n.In[0].Type, n.In[0].Shape[axis])
	}
	s := n.In[0].Shape.Clone()
	s[axis] = a.K
	return []Type{{n.In[0].DType, s}, {tensor.I64, s}}, nil
}

// reduceCases are the axis sets that kernels treat apart: all, trailing, leading, middle, mixed.
var reduceCases = []struct {
	name  string
	shape tensor.Shape
	attrs Reduce
}{
	{"all", tensor.Shape{65}, Reduce{}},
	{"all2", tensor.Shape{3, 17}, Reduce{Keep: true}},
	{"row", tensor.Shape{5, 33}, Reduce{Axes: []int{-1}}},
	{"row1", tensor.Shape{4, 1}, Reduce{Axes: []int{1}, Keep: true}},
	{"col", tensor.Shape{37, 19}, Reduce{Axes: []int{0}}},
	{"lead", tensor.Shape{3, 7, 17}, Reduce{Axes: []int{0, 1}}},
	{"trail", tensor.Shape{3, 2, 5, 7}, Reduce{Axes: []int{2, 3}, Keep: true}},
	{"middle", tensor.Shape{2, 5, 3}, Reduce{Axes: []int{1}}},
	{"ends", tensor.Shape{4, 3, 5}, Reduce{Axes: []int{0, 2}}},
}

func reduceSamples(in func(tensor.Shape) SampleIn) []Sample {
	var s []Sample
	for _, c := range reduceCases {
		s = append(s, Sample{Name: c.name, In: []SampleIn{in(c.shape)}, Attrs: c.attrs})
	}
	return s
}

// reduction makes a row; d gets the kept shape's y and dy and returns dx.
func reduction(name string, in func(tensor.Shape) SampleIn, d func(g *Graph, n *Node, x, y, dy *Value) *Value) Op {
	return Op{Name: name, MinIn: 1, Infer: reduceInfer, FLOPs: inputFLOPs, Samples: reduceSamples(in),
		VJP: func(g *Graph, n *Node, dy []*Value) []*Value {
			x := n.In[0]
			reduced, _ := attrs[Reduce](n).Reduced(x.Shape)
			k := kept(x.Shape, reduced)
			return []*Value{d(g, n, x, g.Reshape(n.Out[0], k...), g.Reshape(dy[0], k...))}
		}}
}

func inputFLOPs(n *Node) int64 { return int64(n.In[0].Shape.Size()) }

func init() {
	plain := func(s tensor.Shape) SampleIn { return In(s...) }
	distinct := func(s tensor.Shape) SampleIn { return SampleIn{Shape: s, Distinct: true} }
	positive := func(s tensor.Shape) SampleIn { return InRange(0.7, 1.3, s...) }
	register(
		reduction("sum", plain, func(g *Graph, n *Node, x, y, dy *Value) *Value { return g.Broadcast(dy, x.Shape...) }),
		// d mean = dy/n
		reduction("mean", plain, func(g *Graph, n *Node, x, y, dy *Value) *Value {
			count := float64(x.Shape.Size()) / float64(max(1, y.Shape.Size()))
			return g.Broadcast(g.Scale(dy, 1/count), x.Shape...)
		}),
		reduction("max", distinct, extremeVJP),
		reduction("min", distinct, extremeVJP),
		// d ∏x = dy·∏ of the others
		reduction("prod", positive, func(g *Graph, n *Node, x, y, dy *Value) *Value {
			return g.Apply("prod_grad", n.Attrs, x, g.Reshape(dy, n.Out[0].Shape...))
		}),
		// prod_grad(x, dy): dx = dy·∏ of the other elements, right at zeros too. It has no derivative of its own.
		Op{Name: "prod_grad", MinIn: 2, Infer: prodGradInfer, FLOPs: func(n *Node) int64 { return 3 * inputFLOPs(n) }, Samples: prodGradSamples()},
		Op{Name: "argmax", MinIn: 1, Infer: argmaxInfer, FLOPs: inputFLOPs, Samples: noGradSamples("integer output", []Sample{
			{Name: "row", In: []SampleIn{{Shape: tensor.Shape{5, 33}, Distinct: true}}, Attrs: ArgMax{Axis: -1}},
			{Name: "middle", In: []SampleIn{{Shape: tensor.Shape{2, 5, 3}, Distinct: true}}, Attrs: ArgMax{Axis: 1, Keep: true}},
			{Name: "ties", In: []SampleIn{InIndex(3, 4, 65)}, Attrs: ArgMax{Axis: 1}},
			{Name: "ties, last", In: []SampleIn{InIndex(3, 4, 65)}, Attrs: ArgMax{Axis: 1, Last: true}},
		})},
		Op{Name: "topk", MinIn: 1, Infer: topkInfer, FLOPs: inputFLOPs, VJP: topkVJP, Samples: []Sample{
			{Name: "row", In: []SampleIn{{Shape: tensor.Shape{5, 33}, Distinct: true}}, Attrs: TopK{K: 3, Axis: -1}},
			{Name: "smallest", In: []SampleIn{{Shape: tensor.Shape{2, 7, 3}, Distinct: true}}, Attrs: TopK{K: 7, Axis: 1, Smallest: true}},
			{Name: "ties", In: []SampleIn{InIndex(3, 4, 17)}, Attrs: TopK{K: 5, Axis: 1}, NoGrad: true, Why: "integers"},
		}},
	)
}

// d max = dy, shared equally among the elements that attain it
func extremeVJP(g *Graph, n *Node, x, y, dy *Value) *Value {
	hit := g.Cast(g.Apply("eq", nil, x, y), x.DType)
	count := g.Apply("sum", Reduce{Axes: attrs[Reduce](n).Axes, Keep: true}, hit)
	return g.Mul(hit, g.Div(dy, count))
}

func prodGradInfer(n *Node) ([]Type, error) {
	if _, err := sameFloat(n); err != nil {
		return nil, err
	}
	y, err := reduceInfer(&Node{In: n.In[:1], Attrs: n.Attrs})
	if err != nil {
		return nil, err
	}
	if !y[0].Equal(n.In[1].Type) {
		return nil, fmt.Errorf("dy is %v, expected %v", n.In[1].Type, y[0])
	}
	return sameAsInput(n)
}

func prodGradSamples() []Sample {
	why := "it has no derivative"
	return []Sample{
		{Name: "row", In: []SampleIn{In(3, 5), In(3)}, Attrs: Reduce{Axes: []int{1}}, NoGrad: true, Why: why},
		{Name: "col", In: []SampleIn{In(5, 3), In(1, 3)}, Attrs: Reduce{Axes: []int{0}, Keep: true}, NoGrad: true, Why: why},
	}
}

// The cotangent of the values goes back to where they came from.
func topkVJP(g *Graph, n *Node, dy []*Value) []*Value {
	if dy[0] == nil {
		return []*Value{nil}
	}
	x := n.In[0]
	return []*Value{g.ScatterAdd(g.Fill(0, x.DType, x.Shape...), n.Out[1], dy[0], attrs[TopK](n).Axis)}
}

// Sum adds over axes (none: all); keep leaves them with size 1.
func (g *Graph) Sum(x *Value, keep bool, axes ...int) *Value {
	return g.Apply("sum", Reduce{Axes: axes, Keep: keep}, x)
}

// Mean averages over axes (none: all).
func (g *Graph) Mean(x *Value, keep bool, axes ...int) *Value {
	return g.Apply("mean", Reduce{Axes: axes, Keep: keep}, x)
}

// Max takes the largest over axes (none: all).
func (g *Graph) Max(x *Value, keep bool, axes ...int) *Value {
	return g.Apply("max", Reduce{Axes: axes, Keep: keep}, x)
}

// Min takes the smallest over axes (none: all).
func (g *Graph) Min(x *Value, keep bool, axes ...int) *Value {
	return g.Apply("min", Reduce{Axes: axes, Keep: keep}, x)
}

// Prod multiplies over axes (none: all).
func (g *Graph) Prod(x *Value, keep bool, axes ...int) *Value {
	return g.Apply("prod", Reduce{Axes: axes, Keep: keep}, x)
}

// ArgMax returns the I64 index of the largest element along axis, which disappears.
func (g *Graph) ArgMax(x *Value, axis int) *Value { return g.Apply("argmax", ArgMax{Axis: axis}, x) }

// TopK returns the k largest values along axis, best first, and their I64 indices.
func (g *Graph) TopK(x *Value, k, axis int) (values, indices *Value) {
	out := g.ApplyN("topk", TopK{K: k, Axis: axis}, x)
	return out[0], out[1]
}

// SumTo is the inverse of broadcasting: it adds over the axes in which shape is smaller than v's.
func (g *Graph) SumTo(v *Value, shape tensor.Shape) *Value {
	if v.Shape.Equal(shape) {
		return v
	}
	lead := len(v.Shape) - len(shape)
	var axes []int
	for i, d := range v.Shape {
		if i < lead || (shape[i-lead] == 1 && d != 1) {
			axes = append(axes, i)
		}
	}
	if len(axes) > 0 {
		v = g.Sum(v, false, axes...)
	}
	return g.Reshape(v, shape...)
}
