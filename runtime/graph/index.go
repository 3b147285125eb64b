package graph

import (
	"fmt"

	"ringo/runtime/tensor"
)

// Gather is the attribute struct of "gather" and "gather_elements".
type Gather struct{ Axis int }

// GatherGrad is the attribute struct of "gather_grad": the axis and the shape that was gathered from.
type GatherGrad struct {
	Axis  int
	Shape tensor.Shape
}

// Scatter is the attribute struct of "scatter_add" (ONNX ScatterElements). Mode "" or "add" adds the updates;
// "set" replaces (of equal indices the last wins), "mul", "max" and "min" combine.
type Scatter struct {
	Axis int
	Mode string
}

// EmbeddingGrad is the attribute struct of "embedding_grad": the rows of the table.
type EmbeddingGrad struct{ V int }

func isIndex(v *Value) error {
	if v.DType != tensor.I32 && v.DType != tensor.I64 {
		return fmt.Errorf("indices are %v: expected i32 or i64", v.Type)
	}
	return nil
}

// gatherShape is x's shape with axis replaced by the shape of the indices.
func gatherShape(x tensor.Shape, axis int, idx *Value) (tensor.Shape, error) {
	a, err := x.Axis(axis)
	if err != nil {
		return nil, err
	}
	out := append(tensor.Shape{}, x[:a]...)
	out = append(out, idx.Shape...)
	return append(out, x[a+1:]...), isIndex(idx)
}

func gatherInfer(n *Node) ([]Type, error) {
	s, err := gatherShape(n.In[0].Shape, attrs[Gather](n).Axis, n.In[1])
	return []Type{{n.In[0].DType, s}}, err
}

func gatherGradInfer(n *Node) ([]Type, error) {
	a := attrs[GatherGrad](n)
	s, err := gatherShape(a.Shape, a.Axis, n.In[1])
	if err == nil && !s.Equal(n.In[0].Shape) {
		err = fmt.Errorf("dy is %v, expected shape %v", n.In[0].Type, s)
	}
	return []Type{{n.In[0].DType, a.Shape}}, err
}

// elementsFit checks that idx has x's rank and is not larger but along axis.
func elementsFit(x, idx *Value, axis int) error {
	a, err := x.Shape.Axis(axis)
	if err != nil {
		return err
	}
	fits := len(idx.Shape) == len(x.Shape)
	for i := 0; fits && i < len(x.Shape); i++ {
		fits = i == a || idx.Shape[i] <= x.Shape[i]
	}
	if !fits {
		return fmt.Errorf("indices %v do not fit %v along axis %d", idx.Type, x.Type, a)
	}
	return isIndex(idx)
}

func gatherElementsInfer(n *Node) ([]Type, error) {
	return []Type{{n.In[0].DType, n.In[1].Shape}}, elementsFit(n.In[0], n.In[1], attrs[Gather](n).Axis)
}

func scatterInfer(n *Node) ([]Type, error) {
	x, idx, upd, a := n.In[0], n.In[1], n.In[2], attrs[Scatter](n)
	switch a.Mode {
	case "", "add", "set", "mul", "max", "min":
	default:
		return nil, fmt.Errorf("mode %q: expected add, set, mul, max or min", a.Mode)
	}
	if upd.DType != x.DType || !upd.Shape.Equal(idx.Shape) {
		return nil, fmt.Errorf("updates are %v: expected %v of the indices' shape %v", upd.Type, x.DType, idx.Shape)
	}
	return []Type{x.Type}, elementsFit(x, idx, a.Axis)
}

func embeddingInfer(n *Node) ([]Type, error) {
	table, ids := n.In[0], n.In[1]
	if len(table.Shape) != 2 {
		return nil, fmt.Errorf("table is %v: expected (V,C)", table.Type)
	}
	return []Type{{table.DType, append(ids.Shape.Clone(), table.Shape[1])}}, isIndex(ids)
}

func embeddingGradInfer(n *Node) ([]Type, error) {
	dy, ids := n.In[0], n.In[1]
	r := len(dy.Shape)
	if r == 0 || !dy.Shape[:r-1].Equal(ids.Shape) || !dy.DType.IsFloat() {
		return nil, fmt.Errorf("dy is %v, ids are %v: expected floats of the ids' shape and one more axis", dy.Type, ids.Type)
	}
	return []Type{{dy.DType, tensor.Shape{attrs[EmbeddingGrad](n).V, dy.Shape[r-1]}}}, isIndex(ids)
}

func init() {
	register(
		// gather(x, idx)[i…, j…, k…] = x[i…, idx[j…], k…] (NumPy take); negative indices count from the end.
		Op{Name: "gather", MinIn: 2, Infer: gatherInfer, FLOPs: noFLOPs, VJP: gatherVJP, Samples: []Sample{
			{Name: "rows", In: []SampleIn{In(7, 17), InIndex(7, 5)}, Attrs: Gather{}},
			{Name: "last", In: []SampleIn{In(3, 9), InIndex(9, 2, 4)}, Attrs: Gather{Axis: -1}},
			{Name: "middle", In: []SampleIn{In(2, 5, 3), InIndex(5, 6)}, Attrs: Gather{Axis: 1}},
			{Name: "scalar", In: []SampleIn{In(5, 65), InIndex(5)}, Attrs: Gather{}},
		}},
		// gather_grad(dy, idx): zeros of the gathered shape plus every slice of dy at its index
		Op{Name: "gather_grad", MinIn: 2, Infer: gatherGradInfer, FLOPs: inputFLOPs, Samples: []Sample{
			{Name: "rows", In: []SampleIn{In(5, 17), InIndex(7, 5)}, Attrs: GatherGrad{Shape: tensor.Shape{7, 17}}},
			{Name: "last", In: []SampleIn{In(3, 2, 4), InIndex(9, 2, 4)}, Attrs: GatherGrad{Axis: -1, Shape: tensor.Shape{3, 9}}},
			{Name: "middle", In: []SampleIn{In(2, 6, 3), InIndex(5, 6)}, Attrs: GatherGrad{Axis: 1, Shape: tensor.Shape{2, 5, 3}}},
		}, VJP: func(g *Graph, n *Node, dd []*Value) []*Value {
			return []*Value{g.Gather(dd[0], n.In[1], attrs[GatherGrad](n).Axis), nil}
		}},
		// gather_elements(x, idx)[i,j] = x[i, idx[i,j]] for axis 1 (ONNX GatherElements)
		Op{Name: "gather_elements", MinIn: 2, Infer: gatherElementsInfer, FLOPs: noFLOPs, Samples: []Sample{
			{Name: "last", In: []SampleIn{In(3, 9), InIndex(9, 3, 4)}, Attrs: Gather{Axis: 1}},
			{Name: "first", In: []SampleIn{In(7, 5), InIndex(7, 9, 3)}, Attrs: Gather{}},
		}, VJP: func(g *Graph, n *Node, dy []*Value) []*Value {
			x := n.In[0]
			return []*Value{g.ScatterAdd(g.Fill(0, x.DType, x.Shape...), n.In[1], dy[0], attrs[Gather](n).Axis), nil}
		}},
		Op{Name: "scatter_add", MinIn: 3, Infer: scatterInfer, VJP: scatterVJP, InPlace: inPlace1,
			FLOPs: func(n *Node) int64 { return int64(n.In[2].Shape.Size()) }, Samples: scatterSamples()},
		// embedding(table (V,C), ids) → (…,C): row ids[…] of the table; an id outside [0,V) gives NaN.
		Op{Name: "embedding", MinIn: 2, Infer: embeddingInfer, FLOPs: noFLOPs, Samples: []Sample{
			{Name: "1", In: []SampleIn{In(5, 17), InIndex(5, 1)}},
			{Name: "2d", In: []SampleIn{In(11, 65), InIndex(11, 3, 7)}},
			{Name: "narrow", In: []SampleIn{In(4, 1), InIndex(4, 9)}},
		}, VJP: func(g *Graph, n *Node, dy []*Value) []*Value {
			return []*Value{g.Apply("embedding_grad", EmbeddingGrad{n.In[0].Shape[0]}, dy[0], n.In[1]), nil}
		}},
		// embedding_grad(dy (…,C), ids) → (V,C): row v is the sum, in order, of the rows of dy whose id is v.
		Op{Name: "embedding_grad", MinIn: 2, Infer: embeddingGradInfer, FLOPs: inputFLOPs, Samples: []Sample{
			{Name: "1", In: []SampleIn{In(1, 17), InIndex(5, 1)}, Attrs: EmbeddingGrad{5}},
			{Name: "repeats", In: []SampleIn{In(3, 40, 65), InIndex(11, 3, 40)}, Attrs: EmbeddingGrad{11}},
			{Name: "sparse", In: []SampleIn{In(9, 3), InIndex(700, 9)}, Attrs: EmbeddingGrad{700}},
		}, VJP: func(g *Graph, n *Node, dd []*Value) []*Value {
			return []*Value{g.Embedding(dd[0], n.In[1]), nil}
		}},
	)
}

func gatherVJP(g *Graph, n *Node, dy []*Value) []*Value {
	a := GatherGrad{attrs[Gather](n).Axis, n.In[0].Shape}
	return []*Value{g.Apply("gather_grad", a, dy[0], n.In[1]), nil}
}

// Adding passes dy on and gathers the updates' share. Replacing does the same but clears the replaced places;
// it is right where no index occurs twice.
func scatterVJP(g *Graph, n *Node, dy []*Value) []*Value {
	a, idx := attrs[Scatter](n), n.In[1]
	dupd := g.Apply("gather_elements", Gather{a.Axis}, dy[0], idx)
	switch a.Mode {
	case "", "add":
		return []*Value{dy[0], nil, dupd}
	case "set":
		zeros := g.Fill(0, dy[0].DType, idx.Shape...)
		return []*Value{g.Apply("scatter_add", a, dy[0], idx, zeros), nil, dupd}
	}
	panic(&Error{n.Op.Name, n.Name, fmt.Errorf("mode %q has no derivative", a.Mode)})
}

func scatterSamples() []Sample {
	s := []Sample{
		{Name: "rows", In: []SampleIn{In(7, 5), InIndex(7, 9, 3), In(9, 3)}, Attrs: Scatter{}},
		{Name: "last", In: []SampleIn{In(3, 17), InIndex(17, 3, 5), In(3, 5)}, Attrs: Scatter{Axis: -1, Mode: "add"}},
		{Name: "set", In: []SampleIn{In(3, 1), InIndex(1, 2, 1), In(2, 1)}, Attrs: Scatter{Axis: 1, Mode: "set"}},
	}
	for _, mode := range []string{"mul", "max", "min"} {
		s = append(s, Sample{Name: mode, In: []SampleIn{In(3, 5), InIndex(5, 3, 5), In(3, 5)}, Attrs: Scatter{Axis: 1, Mode: mode},
			NoGrad: true, Why: "this mode has no derivative"})
	}
	return s
}

// Gather takes slices of x along axis by index: NumPy's take.
func (g *Graph) Gather(x, idx *Value, axis int) *Value {
	return g.Apply("gather", Gather{axis}, x, idx)
}

// ScatterAdd adds updates (of idx's shape) to x at places that differ from the updates' own along axis.
func (g *Graph) ScatterAdd(x, idx, updates *Value, axis int) *Value {
	return g.Apply("scatter_add", Scatter{Axis: axis}, x, idx, updates)
}

// Embedding returns row ids[…] of table (V,C): (…,C).
func (g *Graph) Embedding(table, ids *Value) *Value { return g.Apply("embedding", nil, table, ids) }
