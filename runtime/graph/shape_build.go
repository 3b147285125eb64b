package graph

import "ringo/runtime/tensor"

// Builder methods and samples of the shape ops.

// Reshape returns x under another shape; one dimension may be −1, which is computed.
func (g *Graph) Reshape(x *Value, shape ...int) *Value {
	s := tensor.Shape(shape).Clone()
	known, free := 1, -1
	for i, d := range s {
		if d == -1 && free < 0 {
			free = i
		} else {
			known *= d
		}
	}
	if free >= 0 && known > 0 {
		s[free] = x.Shape.Size() / known
	}
	if s.Equal(x.Shape) {
		return x
	}
	return g.Apply("reshape", Reshape{s}, x)
}

// Transpose permutes the axes: axis i of the result is axis perm[i] of x.
func (g *Graph) Transpose(x *Value, perm ...int) *Value {
	return g.Apply("transpose", Transpose{perm}, x)
}

// SliceAxis returns elements [start, end) along one axis, all along the others.
func (g *Graph) SliceAxis(x *Value, axis, start, end int) *Value {
	a, err := x.Shape.Axis(axis)
	if err != nil {
		panic(&Error{"slice", g.path(""), err})
	}
	if start == 0 && end == x.Shape[a] {
		return x
	}
	s := Slice{make([]int, len(x.Shape)), x.Shape.Clone(), make([]int, len(x.Shape))}
	for i := range s.Step {
		s.Step[i] = 1
	}
	s.Start[a], s.End[a] = start, end
	return g.Apply("slice", s, x)
}

// Split cuts x into n equal parts along axis.
func (g *Graph) Split(x *Value, n, axis int) []*Value {
	a, err := x.Shape.Axis(axis)
	if err != nil {
		panic(&Error{"slice", g.path(""), err})
	}
	size, out := x.Shape[a]/n, make([]*Value, n)
	for i := range out {
		out[i] = g.SliceAxis(x, a, i*size, (i+1)*size)
	}
	return out
}

// Concat joins values along axis.
func (g *Graph) Concat(axis int, in ...*Value) *Value { return g.Apply("concat", Concat{axis}, in...) }

// Pad puts before[i] and after[i] elements of the given value around axis i.
func (g *Graph) Pad(x *Value, before, after []int, value float64) *Value {
	return g.Apply("pad", Pad{Before: before, After: after, Value: value}, x)
}

// Broadcast stretches x to shape by NumPy's rule.
func (g *Graph) Broadcast(x *Value, shape ...int) *Value {
	if x.Shape.Equal(shape) {
		return x
	}
	return g.Apply("broadcast", Broadcast{tensor.Shape(shape).Clone()}, x)
}

func transposeSamples() []Sample {
	var s []Sample
	for _, c := range []struct {
		shape tensor.Shape
		perm  []int
	}{
		{tensor.Shape{3, 5}, []int{1, 0}},
		{tensor.Shape{65, 17}, []int{1, 0}},
		{tensor.Shape{33, 70}, []int{1, 0}},
		{tensor.Shape{2, 3, 5}, []int{0, 2, 1}},
		{tensor.Shape{2, 3, 5}, []int{2, 1, 0}},
		{tensor.Shape{2, 5, 3, 4}, []int{0, 2, 1, 3}},
		{tensor.Shape{2, 3, 4, 5}, []int{0, 2, 3, 1}},
		{tensor.Shape{2, 4, 5, 3}, []int{0, 3, 1, 2}},
		{tensor.Shape{2, 1, 3, 2, 5}, []int{4, 2, 0, 3, 1}},
		{tensor.Shape{17}, []int{0}},
	} {
		s = append(s, Sample{Name: c.shape.String() + tensor.Shape(c.perm).String(), In: []SampleIn{In(c.shape...)}, Attrs: Transpose{c.perm}})
	}
	i8 := Sample{Name: "i8", In: []SampleIn{{Shape: tensor.Shape{5, 33}, DType: tensor.I8, Max: 100}}, Attrs: Transpose{[]int{1, 0}}, NoGrad: true, Why: "integers"}
	i64 := Sample{Name: "i64", In: []SampleIn{{Shape: tensor.Shape{5, 33}, DType: tensor.I64, Max: 100}}, Attrs: Transpose{[]int{1, 0}}, NoGrad: true, Why: "integers"}
	return append(s, i8, i64)
}

var sliceCases = []struct {
	name  string
	shape tensor.Shape
	cut   Slice
}{
	{"one", tensor.Shape{17}, Slice{[]int{3}, []int{4}, []int{1}}},
	{"last axis", tensor.Shape{3, 65}, Slice{[]int{0, 17}, []int{3, 65}, []int{1, 1}}},
	{"first axis", tensor.Shape{5, 3}, Slice{[]int{1, 0}, []int{4, 3}, []int{1, 1}}},
	{"steps", tensor.Shape{7, 9}, Slice{[]int{1, 0}, []int{7, 9}, []int{3, 2}}},
	{"backwards", tensor.Shape{4, 5}, Slice{[]int{3, 4}, []int{-1, 0}, []int{-1, -2}}},
	{"middle", tensor.Shape{2, 5, 3}, Slice{[]int{0, 2, 0}, []int{2, 4, 3}, []int{1, 1, 1}}},
}

func sliceSamples() (s []Sample) {
	for _, c := range sliceCases {
		s = append(s, Sample{Name: c.name, In: []SampleIn{In(c.shape...)}, Attrs: c.cut})
	}
	return s
}

func sliceGradSamples() (s []Sample) {
	for _, c := range sliceCases {
		cut, _ := sliceShape(c.cut, c.shape)
		s = append(s, Sample{Name: c.name, In: []SampleIn{In(cut...)}, Attrs: SliceGrad{c.cut, c.shape}})
	}
	return s
}

var padCases = []struct {
	shape tensor.Shape
	pad   Pad
}{
	{tensor.Shape{3, 17}, Pad{Before: []int{1, 2}, After: []int{0, 3}, Value: 0.5}},
	{tensor.Shape{2, 3, 4}, Pad{Before: []int{0, 1, 1}, After: []int{0, 1, 0}}},
	{tensor.Shape{3, 5}, Pad{Before: []int{-1, 1}, After: []int{1, -2}}},
	{tensor.Shape{3, 4}, Pad{Before: []int{1, 2}, After: []int{2, 1}, Mode: "edge"}},
	{tensor.Shape{3, 4}, Pad{Before: []int{1, 2}, After: []int{2, 3}, Mode: "reflect"}},
	{tensor.Shape{3, 4}, Pad{Before: []int{1, 2}, After: []int{5, 3}, Mode: "wrap"}},
}

func padSamples() (s []Sample) {
	for _, c := range padCases {
		s = append(s, Sample{Name: c.pad.Mode + c.shape.String(), In: []SampleIn{In(c.shape...)}, Attrs: c.pad})
	}
	return s
}

func padGradSamples() (s []Sample) {
	for _, c := range padCases {
		out, _ := padShape(c.pad, c.shape)
		s = append(s, Sample{Name: c.pad.Mode + c.shape.String(), In: []SampleIn{In(out...)}, Attrs: PadGrad{c.pad, c.shape}})
	}
	return s
}
