package graph

import (
	"fmt"

	"ringo/runtime/tensor"
)

// Reshape is the attribute struct of "reshape".
type Reshape struct{ Shape tensor.Shape }

// Transpose is the attribute struct of "transpose": axis i of the output is axis Perm[i] of the input.
type Transpose struct{ Perm []int }

// Slice is the attribute struct of "slice", one entry per axis, resolved: elements Start, Start+Step, …
// before End. With a negative Step, End −1 means that element 0 is taken too.
type Slice struct{ Start, End, Step []int }

// SliceGrad is the attribute struct of "slice_grad": the slice and the shape it was taken from.
type SliceGrad struct {
	Slice Slice
	Shape tensor.Shape
}

// Concat is the attribute struct of "concat".
type Concat struct{ Axis int }

// Pad is the attribute struct of "pad": how many elements to put before and after each axis, and what they
// hold: Value in mode "" or "constant"; "edge" repeats the border, "reflect" mirrors without it, "wrap" goes
// round.
type Pad struct {
	Before, After []int
	Value         float64
	Mode          string
}

// PadGrad is the attribute struct of "pad_grad": the padding and the shape that was padded.
type PadGrad struct {
	Pad   Pad
	Shape tensor.Shape
}

// Broadcast is the attribute struct of "broadcast".
type Broadcast struct{ Shape tensor.Shape }

// Index maps position i of the padded axis of size n to the input's, −1 where Value stands.
func (p Pad) Index(i, axis, n int) int {
	i -= p.Before[axis]
	if i >= 0 && i < n {
		return i
	}
	switch p.Mode {
	case "edge":
		return min(max(i, 0), n-1)
	case "wrap":
		return ((i % n) + n) % n
	case "reflect": // period 2(n−1): 0 1 … n−1 n−2 … 1
		if n == 1 {
			return 0
		}
		period := 2 * (n - 1)
		i = ((i % period) + period) % period
		return min(i, period-i)
	}
	return -1
}

// Size returns how many elements the slice takes along axis.
func (s Slice) Size(axis int) int {
	start, end, step := s.Start[axis], s.End[axis], s.Step[axis]
	if step < 0 {
		return max(0, (start-end-step-1)/-step)
	}
	return max(0, (end-start+step-1)/step)
}

func reshapeInfer(n *Node) ([]Type, error) {
	s := attrs[Reshape](n).Shape
	for _, d := range s {
		if d < 0 {
			return nil, fmt.Errorf("shape %v has a negative dimension", s)
		}
	}
	if s.Size() != n.In[0].Shape.Size() {
		return nil, fmt.Errorf("%v to shape %v: %d elements ≠ %d", n.In[0].Type, s, n.In[0].Shape.Size(), s.Size())
	}
	return []Type{{n.In[0].DType, s}}, nil
}

func transposeInfer(n *Node) ([]Type, error) {
	perm, in := attrs[Transpose](n).Perm, n.In[0].Shape
	seen := make([]bool, len(in))
	out := make(tensor.Shape, len(in))
	for i, p := range perm {
		if len(perm) != len(in) || p < 0 || p >= len(in) || seen[p] {
			return nil, fmt.Errorf("permutation %v does not fit %v", perm, n.In[0].Type)
		}
		seen[p] = true
		out[i] = in[p]
	}
	if len(perm) != len(in) {
		return nil, fmt.Errorf("permutation %v does not fit %v", perm, n.In[0].Type)
	}
	return []Type{{n.In[0].DType, out}}, nil
}

// sliceShape checks s against in and returns the shape it cuts out.
func sliceShape(s Slice, in tensor.Shape) (tensor.Shape, error) {
	if len(s.Start) != len(in) || len(s.End) != len(in) || len(s.Step) != len(in) {
		return nil, fmt.Errorf("slice %v of shape %v: expected one start, end and step per axis", s, in)
	}
	out := make(tensor.Shape, len(in))
	for i, d := range in {
		if s.Step[i] == 0 {
			return nil, fmt.Errorf("slice %v: step of axis %d is 0", s, i)
		}
		out[i] = s.Size(i)
		last := s.Start[i] + (out[i]-1)*s.Step[i]
		if out[i] > 0 && (min(s.Start[i], last) < 0 || max(s.Start[i], last) >= d) {
			return nil, fmt.Errorf("slice %v leaves axis %d of shape %v", s, i, in)
		}
	}
	return out, nil
}

func sliceInfer(n *Node) ([]Type, error) {
	out, err := sliceShape(attrs[Slice](n), n.In[0].Shape)
	return []Type{{n.In[0].DType, out}}, err
}

func sliceGradInfer(n *Node) ([]Type, error) {
	a := attrs[SliceGrad](n)
	cut, err := sliceShape(a.Slice, a.Shape)
	if err != nil {
		return nil, err
	}
	if !cut.Equal(n.In[0].Shape) {
		return nil, fmt.Errorf("dy is %v, the slice has shape %v", n.In[0].Type, cut)
	}
	return []Type{{n.In[0].DType, a.Shape}}, nil
}

func concatInfer(n *Node) ([]Type, error) {
	first := n.In[0]
	axis, err := first.Shape.Axis(attrs[Concat](n).Axis)
	if err != nil {
		return nil, err
	}
	out := first.Shape.Clone()
	for i, v := range n.In[1:] {
		fits := v.DType == first.DType && len(v.Shape) == len(out)
		for d := 0; fits && d < len(out); d++ {
			fits = d == axis || v.Shape[d] == out[d]
		}
		if !fits {
			return nil, fmt.Errorf("input %d is %v, input 0 is %v: expected equality but for axis %d", i+1, v.Type, first.Type, axis)
		}
		out[axis] += v.Shape[axis]
	}
	return []Type{{first.DType, out}}, nil
}

// padShape checks p against in and returns the padded shape.
func padShape(p Pad, in tensor.Shape) (tensor.Shape, error) {
	if len(p.Before) != len(in) || len(p.After) != len(in) {
		return nil, fmt.Errorf("padding %v, %v of shape %v: expected one number per axis", p.Before, p.After, in)
	}
	switch p.Mode {
	case "", "constant", "edge", "reflect", "wrap":
	default:
		return nil, fmt.Errorf("padding mode %q: expected constant, edge, reflect or wrap", p.Mode)
	}
	out := in.Clone()
	for i := range in {
		out[i] += p.Before[i] + p.After[i]
		if out[i] < 0 || (out[i] > 0 && in[i] == 0 && p.Mode != "" && p.Mode != "constant") {
			return nil, fmt.Errorf("padding %v, %v does not fit shape %v", p.Before, p.After, in)
		}
	}
	return out, nil
}

func padInfer(n *Node) ([]Type, error) {
	out, err := padShape(attrs[Pad](n), n.In[0].Shape)
	return []Type{{n.In[0].DType, out}}, err
}

func padGradInfer(n *Node) ([]Type, error) {
	a := attrs[PadGrad](n)
	out, err := padShape(a.Pad, a.Shape)
	if err != nil {
		return nil, err
	}
	if !out.Equal(n.In[0].Shape) || !n.In[0].DType.IsFloat() {
		return nil, fmt.Errorf("dy is %v, expected floats of shape %v", n.In[0].Type, out)
	}
	return []Type{{n.In[0].DType, a.Shape}}, nil
}

func broadcastInfer(n *Node) ([]Type, error) {
	s := attrs[Broadcast](n).Shape
	out, err := tensor.Broadcast(n.In[0].Shape, s)
	if err == nil && !out.Equal(s) {
		err = fmt.Errorf("%v does not broadcast to %v", n.In[0].Type, s)
	}
	return []Type{{n.In[0].DType, s}}, err
}

func init() {
	register(
		Op{Name: "reshape", MinIn: 1, Alias: true, Infer: reshapeInfer, Samples: []Sample{
			{In: []SampleIn{In(3, 4)}, Attrs: Reshape{tensor.Shape{2, 6}}},
			{In: []SampleIn{In(1)}, Attrs: Reshape{tensor.Shape{}}}},
			VJP: func(g *Graph, n *Node, dy []*Value) []*Value {
				return []*Value{g.Reshape(dy[0], n.In[0].Shape...)}
			}},
		Op{Name: "transpose", MinIn: 1, Infer: transposeInfer, FLOPs: noFLOPs, Samples: transposeSamples(),
			VJP: func(g *Graph, n *Node, dy []*Value) []*Value {
				perm := attrs[Transpose](n).Perm
				inverse := make([]int, len(perm))
				for i, p := range perm {
					inverse[p] = i
				}
				return []*Value{g.Transpose(dy[0], inverse...)}
			}},
		Op{Name: "slice", MinIn: 1, Infer: sliceInfer, FLOPs: noFLOPs, Samples: sliceSamples(),
			VJP: func(g *Graph, n *Node, dy []*Value) []*Value {
				return []*Value{g.Apply("slice_grad", SliceGrad{attrs[Slice](n), n.In[0].Shape}, dy[0])}
			}},
		// slice_grad(dy): dy at the places the slice took, 0 elsewhere
		Op{Name: "slice_grad", MinIn: 1, Infer: sliceGradInfer, FLOPs: noFLOPs, Samples: sliceGradSamples(),
			VJP: func(g *Graph, n *Node, dd []*Value) []*Value {
				return []*Value{g.Apply("slice", attrs[SliceGrad](n).Slice, dd[0])}
			}},
		Op{Name: "concat", MinIn: 1, MaxIn: -1, Infer: concatInfer, FLOPs: noFLOPs, VJP: concatVJP, Samples: []Sample{
			{Name: "last", In: []SampleIn{In(3, 5), In(3, 17), In(3, 1)}, Attrs: Concat{Axis: -1}},
			{Name: "first", In: []SampleIn{In(2, 5), In(1, 5)}, Attrs: Concat{Axis: 0}},
			{Name: "middle", In: []SampleIn{In(2, 3, 4), In(2, 2, 4)}, Attrs: Concat{Axis: 1}},
			{Name: "one", In: []SampleIn{In(65)}, Attrs: Concat{}},
		}},
		Op{Name: "pad", MinIn: 1, Infer: padInfer, FLOPs: noFLOPs, VJP: padVJP, Samples: padSamples()},
		// pad_grad(dy): adds every element of dy to the element of x that pad copied it from
		Op{Name: "pad_grad", MinIn: 1, Infer: padGradInfer, Samples: padGradSamples(),
			VJP: func(g *Graph, n *Node, dd []*Value) []*Value {
				a := attrs[PadGrad](n).Pad
				a.Value = 0
				return []*Value{g.Apply("pad", a, dd[0])}
			}},
		Op{Name: "broadcast", MinIn: 1, Infer: broadcastInfer, FLOPs: noFLOPs, Samples: []Sample{
			{Name: "scalar", In: []SampleIn{In()}, Attrs: Broadcast{tensor.Shape{65}}},
			{Name: "suffix", In: []SampleIn{In(17)}, Attrs: Broadcast{tensor.Shape{3, 17}}},
			{Name: "row", In: []SampleIn{In(3, 1)}, Attrs: Broadcast{tensor.Shape{3, 17}}},
			{Name: "middle", In: []SampleIn{In(2, 1, 3)}, Attrs: Broadcast{tensor.Shape{2, 4, 3}}},
			{Name: "same", In: []SampleIn{In(2, 3)}, Attrs: Broadcast{tensor.Shape{2, 3}}},
		}, VJP: func(g *Graph, n *Node, dy []*Value) []*Value {
			return []*Value{g.SumTo(dy[0], n.In[0].Shape)}
		}},
	)
}

func concatVJP(g *Graph, n *Node, dy []*Value) []*Value {
	axis, _ := n.Out[0].Shape.Axis(attrs[Concat](n).Axis)
	out, at := make([]*Value, len(n.In)), 0
	for i, v := range n.In {
		out[i] = g.SliceAxis(dy[0], axis, at, at+v.Shape[axis])
		at += v.Shape[axis]
	}
	return out
}

// A constant border gets no gradient, so its VJP is a slice; other modes add the border's share.
func padVJP(g *Graph, n *Node, dy []*Value) []*Value {
	a, x := attrs[Pad](n), n.In[0].Shape
	for i := range x {
		if (a.Mode != "" && a.Mode != "constant") || a.Before[i] < 0 || a.After[i] < 0 {
			return []*Value{g.Apply("pad_grad", PadGrad{a, x}, dy[0])}
		}
	}
	s := Slice{a.Before, make([]int, len(x)), make([]int, len(x))}
	for i, d := range x {
		s.End[i], s.Step[i] = a.Before[i]+d, 1
	}
	return []*Value{g.Apply("slice", s, dy[0])}
}
