package graph

import (
	"fmt"

	"ringo/runtime/tensor"
)

// Norm is the attribute struct of the layer, RMS and batch norm ops.
type Norm struct {
	Eps float64 // added to the variance (RMS norm: to the mean square) before the root
}

// GroupNorm is the attribute struct of "groupnorm" and its gradient.
type GroupNorm struct {
	Groups int // divides the number of channels
	Eps    float64
}

// statType is the element type of saved statistics: wide enough not to lose what a half-precision input has.
func statType(d tensor.DType) tensor.DType {
	if d == tensor.F64 {
		return tensor.F64
	}
	return tensor.F32
}

// floats checks that every input is of a float type.
func floats(n *Node) error {
	for i, v := range n.In {
		if !v.DType.IsFloat() {
			return fmt.Errorf("input %d is %v, expected a float type", i, v.Type)
		}
	}
	return nil
}

// lastAxis checks x (…, C) and that each of vecs is a vector (C); it returns the shape without the last axis.
func lastAxis(n *Node, x int, vecs ...int) (tensor.Shape, error) {
	if err := floats(n); err != nil {
		return nil, err
	}
	s := n.In[x].Shape
	if len(s) == 0 || s[len(s)-1] == 0 {
		return nil, fmt.Errorf("x is %v, expected at least one axis and a last axis that is not empty", n.In[x].Type)
	}
	c := s[len(s)-1]
	for _, i := range vecs {
		if v := n.In[i]; len(v.Shape) != 1 || v.Shape[0] != c {
			return nil, fmt.Errorf("input %d has shape %v, expected (%d) as the last axis of x %v", i, v.Shape, c, s)
		}
	}
	return s[:len(s)-1].Clone(), nil
}

// sameShape checks that the listed inputs have the shape of input 0.
func sameShape(n *Node, inputs ...int) error {
	for _, i := range inputs {
		if !n.In[i].Shape.Equal(n.In[0].Shape) {
			return fmt.Errorf("input %d has shape %v, input 0 %v: expected the same", i, n.In[i].Shape, n.In[0].Shape)
		}
	}
	return nil
}

// statShape checks that the listed inputs have the shape of per-row statistics.
func statShape(n *Node, want tensor.Shape, inputs ...int) error {
	for _, i := range inputs {
		if n.In[i].Shape.Size() != want.Size() {
			return fmt.Errorf("input %d has shape %v, expected one number per row: %v", i, n.In[i].Shape, want)
		}
	}
	return nil
}

func layerNormInfer(n *Node) ([]Type, error) {
	lead, err := lastAxis(n, 0, 1, 2)
	if err != nil {
		return nil, err
	}
	x, st := n.In[0].Type, statType(n.In[0].DType)
	return []Type{x, {st, lead}, {st, lead}}, nil
}

func addLayerNormInfer(n *Node) ([]Type, error) {
	lead, err := lastAxis(n, 0, 2, 3)
	if err != nil {
		return nil, err
	}
	x, st := n.In[0].Type, statType(n.In[0].DType)
	return []Type{x, x, {st, lead}, {st, lead}}, sameShape(n, 1)
}

func layerNormGradInfer(n *Node) ([]Type, error) {
	lead, err := lastAxis(n, 1, 2)
	if err != nil {
		return nil, err
	}
	if err := statShape(n, lead, 3, 4); err != nil {
		return nil, err
	}
	same := []int{1}
	if len(n.In) == 6 {
		same = append(same, 5)
	}
	return []Type{n.In[1].Type, n.In[2].Type, n.In[2].Type}, sameShape(n, same...)
}

func rmsNormInfer(n *Node) ([]Type, error) {
	lead, err := lastAxis(n, 0, 1)
	return []Type{n.In[0].Type, {statType(n.In[0].DType), lead}}, err
}

func addRMSNormInfer(n *Node) ([]Type, error) {
	lead, err := lastAxis(n, 0, 2)
	if err != nil {
		return nil, err
	}
	x := n.In[0].Type
	return []Type{x, x, {statType(x.DType), lead}}, sameShape(n, 1)
}

func rmsNormGradInfer(n *Node) ([]Type, error) {
	lead, err := lastAxis(n, 1, 2)
	if err != nil {
		return nil, err
	}
	if err := statShape(n, lead, 3); err != nil {
		return nil, err
	}
	same := []int{1}
	if len(n.In) == 5 {
		same = append(same, 4)
	}
	return []Type{n.In[1].Type, n.In[2].Type}, sameShape(n, same...)
}

// perElement returns a FLOPs rule of k operations per element of input 0.
func perElement(k int64) func(n *Node) int64 {
	return func(n *Node) int64 { return k * int64(n.In[0].Shape.Size()) }
}

func init() {
	eps := Norm{Eps: 1e-5}
	rows := func(lists ...[]SampleIn) (out []Sample) {
		for _, in := range lists {
			out = append(out, Sample{In: in, Attrs: eps})
		}
		return out
	}
	pos := func(shape ...int) SampleIn { return InRange(0.5, 2, shape...).Statistic() }
	mean := func(shape ...int) SampleIn { return In(shape...).Statistic() }
	register(
		// x (…,C), gain (C), bias (C) → y (…,C), mean (…), rstd (…), the statistics in f32 (f64 for f64):
		// y = (x − mean)·rstd·gain + bias, rstd = 1/√(var + eps), var the biased variance of a row.
		Op{Name: "layernorm", MinIn: 3, Infer: layerNormInfer, VJP: layerNormVJP, FLOPs: perElement(8),
			InPlace: [][2]int{{0, 0}},
			Samples: rows(
				[]SampleIn{In(2, 3, 17), In(17), In(17)},
				[]SampleIn{In(5, 2), In(2), In(2)},
				[]SampleIn{In(65, 64), In(64), In(64)},
				[]SampleIn{InRange(99, 101, 3, 129), In(129), In(129)},
				[]SampleIn{In(33), In(33), In(33)})},
		// x, res (…,C), gain (C), bias (C) → sum = x + res, y, mean, rstd as layernorm of sum.
		Op{Name: "add_layernorm", MinIn: 4, Infer: addLayerNormInfer, VJP: addLayerNormVJP, FLOPs: perElement(9),
			InPlace: [][2]int{{0, 0}, {0, 1}}, DiffOuts: 2,
			Samples: rows(
				[]SampleIn{In(2, 3, 17), In(2, 3, 17), In(17), In(17)},
				[]SampleIn{In(7, 96), In(7, 96), In(96), In(96)})},
		// dy, x (…,C), gain (C), mean, rstd (…) [, dres (…,C)] → dx, dgain, dbias; dres is added to dx.
		//   x̂ = (x − mean)·rstd, w = dy·gain
		//   dx = rstd·(w − mean(w) − x̂·mean(w·x̂)) [+ dres], dgain = Σ dy·x̂, dbias = Σ dy over rows
		Op{Name: "layernorm_grad", MinIn: 5, MaxIn: 6, Infer: layerNormGradInfer, FLOPs: perElement(14),
			InPlace: [][2]int{{0, 0}, {0, 1}},
			Samples: rows(
				[]SampleIn{In(2, 3, 17), In(2, 3, 17), In(17), mean(2, 3), pos(2, 3)},
				[]SampleIn{In(65, 64), In(65, 64), In(64), mean(65), pos(65)},
				[]SampleIn{In(5, 1), In(5, 1), In(1), mean(5), pos(5)},
				[]SampleIn{In(300, 33), In(300, 33), In(33), mean(300), pos(300), In(300, 33)})},
		// x (…,C), gain (C) → y (…,C), rstd (…): y = x·rstd·gain, rstd = 1/√(mean(x²) + eps)
		// (Zhang and Sennrich, "Root Mean Square Layer Normalization", 2019).
		Op{Name: "rmsnorm", MinIn: 2, Infer: rmsNormInfer, VJP: rmsNormVJP, FLOPs: perElement(4),
			InPlace: [][2]int{{0, 0}},
			Samples: rows(
				[]SampleIn{In(2, 3, 17), In(17)},
				[]SampleIn{In(5, 3), In(3)},
				[]SampleIn{In(65, 64), In(64)})},
		// x, res (…,C), gain (C) → sum = x + res, y, rstd as rmsnorm of sum.
		Op{Name: "add_rmsnorm", MinIn: 3, Infer: addRMSNormInfer, VJP: addRMSNormVJP, FLOPs: perElement(5),
			InPlace: [][2]int{{0, 0}, {0, 1}}, DiffOuts: 2,
			Samples: rows(
				[]SampleIn{In(2, 3, 17), In(2, 3, 17), In(17)},
				[]SampleIn{In(7, 96), In(7, 96), In(96)})},
		// dy, x (…,C), gain (C), rstd (…) [, dres (…,C)] → dx, dgain; dres is added to dx.
		//   x̂ = x·rstd, w = dy·gain: dx = rstd·(w − x̂·mean(w·x̂)) [+ dres], dgain = Σ dy·x̂
		Op{Name: "rmsnorm_grad", MinIn: 4, MaxIn: 5, Infer: rmsNormGradInfer, FLOPs: perElement(10),
			InPlace: [][2]int{{0, 0}, {0, 1}},
			Samples: rows(
				[]SampleIn{In(2, 3, 17), In(2, 3, 17), In(17), pos(2, 3)},
				[]SampleIn{In(65, 64), In(65, 64), In(64), pos(65)},
				[]SampleIn{In(300, 33), In(300, 33), In(33), pos(300), In(300, 33)})},
	)
}

func layerNormVJP(g *Graph, n *Node, dy []*Value) []*Value {
	return g.ApplyN("layernorm_grad", n.Attrs, dy[0], n.In[0], n.In[1], n.Out[1], n.Out[2])
}

func addLayerNormVJP(g *Graph, n *Node, dy []*Value) []*Value {
	if dy[1] == nil { // only the sum is used
		return []*Value{dy[0], dy[0], nil, nil}
	}
	in := []*Value{dy[1], n.Out[0], n.In[2], n.Out[2], n.Out[3]}
	if dy[0] != nil {
		in = append(in, dy[0])
	}
	d := g.ApplyN("layernorm_grad", n.Attrs, in...)
	return []*Value{d[0], d[0], d[1], d[2]}
}

func rmsNormVJP(g *Graph, n *Node, dy []*Value) []*Value {
	return g.ApplyN("rmsnorm_grad", n.Attrs, dy[0], n.In[0], n.In[1], n.Out[1])
}

func addRMSNormVJP(g *Graph, n *Node, dy []*Value) []*Value {
	if dy[1] == nil {
		return []*Value{dy[0], dy[0], nil}
	}
	in := []*Value{dy[1], n.Out[0], n.In[2], n.Out[2]}
	if dy[0] != nil {
		in = append(in, dy[0])
	}
	d := g.ApplyN("rmsnorm_grad", n.Attrs, in...)
	return []*Value{d[0], d[0], d[1]}
}

// LayerNorm normalises the last axis of x (…,C) to mean 0 and variance 1, then scales by gain (C) and adds
// bias (C) (Ba, Kiros and Hinton, "Layer Normalization", 2016).
func (g *Graph) LayerNorm(x, gain, bias *Value, eps float64) *Value {
	return g.Apply("layernorm", Norm{eps}, x, gain, bias)
}

// RMSNorm divides the last axis of x (…,C) by its root mean square and scales by gain (C).
func (g *Graph) RMSNorm(x, gain *Value, eps float64) *Value {
	return g.Apply("rmsnorm", Norm{eps}, x, gain)
}
