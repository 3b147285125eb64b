package graph

import (
	"fmt"

	"ringo/runtime/tensor"
)

// channels checks x (N,C,…) and that each of vecs is a vector (C); it returns C.
func channels(n *Node, x int, vecs ...int) (int, error) {
	if err := floats(n); err != nil {
		return 0, err
	}
	s := n.In[x].Shape
	if len(s) < 2 || s.Size() == 0 {
		return 0, fmt.Errorf("x is %v, expected (N,C) or (N,C,H,W) with no empty axis", n.In[x].Type)
	}
	for _, i := range vecs {
		if v := n.In[i].Shape; len(v) != 1 || v[0] != s[1] {
			return 0, fmt.Errorf("input %d has shape %v, expected (%d) as axis 1 of x %v", i, v, s[1], s)
		}
	}
	return s[1], nil
}

func batchNormInfer(n *Node) ([]Type, error) {
	c, err := channels(n, 0, 1, 2)
	st := Type{statType(n.In[0].DType), tensor.Shape{c}}
	return []Type{n.In[0].Type, st, st}, err
}

func batchNormInferInfer(n *Node) ([]Type, error) {
	_, err := channels(n, 0, 1, 2, 3, 4)
	return []Type{n.In[0].Type}, err
}

func batchNormGradInfer(n *Node) ([]Type, error) {
	if _, err := channels(n, 1, 2, 3, 4); err != nil {
		return nil, err
	}
	return []Type{n.In[1].Type, n.In[2].Type, n.In[2].Type}, sameShape(n, 1)
}

func groupStats(n *Node, x int) (Type, error) {
	a, s := attrs[GroupNorm](n), n.In[x].Shape
	if a.Groups < 1 || s[1]%a.Groups != 0 {
		return Type{}, fmt.Errorf("%d groups do not divide the %d channels of x %v", a.Groups, s[1], s)
	}
	return Type{statType(n.In[x].DType), tensor.Shape{s[0], a.Groups}}, nil
}

func groupNormInfer(n *Node) ([]Type, error) {
	if _, err := channels(n, 0, 1, 2); err != nil {
		return nil, err
	}
	st, err := groupStats(n, 0)
	return []Type{n.In[0].Type, st, st}, err
}

func groupNormGradInfer(n *Node) ([]Type, error) {
	if _, err := channels(n, 1, 2); err != nil {
		return nil, err
	}
	st, err := groupStats(n, 1)
	if err != nil {
		return nil, err
	}
	if err := statShape(n, st.Shape, 3, 4); err != nil {
		return nil, err
	}
	return []Type{n.In[1].Type, n.In[2].Type, n.In[2].Type}, sameShape(n, 1)
}

func init() {
	eps := Norm{Eps: 1e-5}
	mean := func(shape ...int) SampleIn { return In(shape...).Statistic() } // f32 beside bf16 activations
	pos := func(shape ...int) SampleIn { return InRange(0.5, 2, shape...).Statistic() }
	register(
		// x (N,C,…), gain (C), bias (C) → y, mean (C), var (C): statistics over N and the axes after C, var
		// biased: y = (x − mean)/√(var + eps)·gain + bias (Ioffe and Szegedy, "Batch Normalization", 2015).
		Op{Name: "batchnorm", MinIn: 3, Infer: batchNormInfer, VJP: batchNormVJP, FLOPs: perElement(8),
			InPlace: [][2]int{{0, 0}},
			Samples: []Sample{
				{In: []SampleIn{In(3, 5, 3, 3), In(5), In(5)}, Attrs: eps},
				{In: []SampleIn{In(2, 3, 5, 13), In(3), In(3)}, Attrs: eps},
				{In: []SampleIn{In(9, 17), In(17), In(17)}, Attrs: eps},
				{In: []SampleIn{InRange(9, 11, 4, 2, 8, 8), In(2), In(2)}, Attrs: eps},
			}},
		// x (N,C,…), gain, bias, mean, var (C) → y, with the given statistics.
		Op{Name: "batchnorm_infer", MinIn: 5, Infer: batchNormInferInfer, VJP: batchNormInferVJP, FLOPs: perElement(2),
			InPlace: [][2]int{{0, 0}},
			Samples: []Sample{
				{In: []SampleIn{In(3, 5, 3, 3), In(5), In(5), mean(5), pos(5)}, Attrs: eps},
				{In: []SampleIn{In(9, 17), In(17), In(17), mean(17), pos(17)}, Attrs: eps},
			}},
		// dy, x (N,C,…), gain, mean, var (C) → dx, dgain, dbias; with x̂ = (x − mean)·rstd and M elements per channel
		//   dbias = Σ dy, dgain = Σ dy·x̂, dx = gain·rstd·(dy − dbias/M − x̂·dgain/M)
		Op{Name: "batchnorm_grad", MinIn: 5, Infer: batchNormGradInfer, FLOPs: perElement(12),
			InPlace: [][2]int{{0, 0}, {0, 1}},
			Samples: []Sample{
				{In: []SampleIn{In(3, 5, 3, 3), In(3, 5, 3, 3), In(5), mean(5), pos(5)}, Attrs: eps},
				{In: []SampleIn{In(2, 3, 5, 13), In(2, 3, 5, 13), In(3), mean(3), pos(3)}, Attrs: eps},
				{In: []SampleIn{In(9, 17), In(9, 17), In(17), mean(17), pos(17)}, Attrs: eps},
			}},
		// x (N,C,…), gain (C), bias (C) → y, mean (N,Groups), rstd (N,Groups): each sample's channels in
		// consecutive groups, statistics per group (Wu and He, "Group Normalization", 2018).
		Op{Name: "groupnorm", MinIn: 3, Infer: groupNormInfer, VJP: groupNormVJP, FLOPs: perElement(8),
			InPlace: [][2]int{{0, 0}},
			Samples: []Sample{
				{In: []SampleIn{In(2, 6, 3, 3), In(6), In(6)}, Attrs: GroupNorm{3, 1e-5}},
				{In: []SampleIn{In(3, 4, 17), In(4), In(4)}, Attrs: GroupNorm{1, 1e-5}},
				{In: []SampleIn{In(2, 4, 5, 5), In(4), In(4)}, Attrs: GroupNorm{4, 1e-3}},
			}},
		// dy, x (N,C,…), gain (C), mean, rstd (N,Groups) → dx, dgain, dbias; over each group, w = dy·gain:
		//   dx = rstd·(w − mean(w) − x̂·mean(w·x̂)), dgain = Σ dy·x̂, dbias = Σ dy
		Op{Name: "groupnorm_grad", MinIn: 5, Infer: groupNormGradInfer, FLOPs: perElement(14),
			InPlace: [][2]int{{0, 0}, {0, 1}},
			Samples: []Sample{
				{In: []SampleIn{In(2, 6, 3, 3), In(2, 6, 3, 3), In(6), mean(2, 3), pos(2, 3)}, Attrs: GroupNorm{3, 1e-5}},
				{In: []SampleIn{In(3, 4, 17), In(3, 4, 17), In(4), mean(3, 1), pos(3, 1)}, Attrs: GroupNorm{1, 1e-5}},
			}},
	)
}

func batchNormVJP(g *Graph, n *Node, dy []*Value) []*Value {
	return g.ApplyN("batchnorm_grad", n.Attrs, dy[0], n.In[0], n.In[1], n.Out[1], n.Out[2])
}

func groupNormVJP(g *Graph, n *Node, dy []*Value) []*Value {
	return g.ApplyN("groupnorm_grad", n.Attrs, dy[0], n.In[0], n.In[1], n.Out[1], n.Out[2])
}

// batchNormInferVJP, with rstd = (var + eps)^−½, per channel: dbias = Σ dy, s = Σ dy·(x − mean),
// dx = dy·gain·rstd, dgain = s·rstd, dmean = −gain·rstd·dbias, dvar = −½·gain·rstd³·s.
func batchNormInferVJP(g *Graph, n *Node, dy []*Value) []*Value {
	x, gain, mean, variance := n.In[0], n.In[1], n.In[3], n.In[4]
	vec := append(tensor.Shape{1, x.Shape[1]}, make(tensor.Shape, len(x.Shape)-2)...)
	for i := range vec[2:] {
		vec[2+i] = 1
	}
	mul := func(a, b *Value) *Value { return g.Apply("mul", nil, a, b) }
	as := func(v *Value, like *Value) *Value { // one element type in every product
		if v.DType == like.DType {
			return v
		}
		return g.Cast(v, like.DType)
	}
	wide := func(v *Value) *Value { return g.Reshape(as(v, x), vec...) }
	sum := func(v *Value) *Value { return g.Reshape(g.SumTo(v, vec), x.Shape[1]) }
	rstd := g.Apply("rsqrt", nil, g.Apply("add", nil, as(variance, x), g.Scalar(attrs[Norm](n).Eps, x.DType)))
	scale := mul(as(gain, x), rstd)
	dbias := sum(dy[0])
	s := sum(mul(dy[0], g.Apply("sub", nil, x, wide(mean))))
	dmean := g.Apply("neg", nil, mul(scale, dbias))
	dvar := mul(mul(mul(scale, s), mul(rstd, rstd)), g.Scalar(-0.5, x.DType))
	return []*Value{mul(dy[0], wide(scale)), as(mul(s, rstd), gain), as(dbias, n.In[2]), as(dmean, mean), as(dvar, variance)}
}

// BatchNorm normalises x (N,C) or (N,C,H,W) per channel with gain and bias (C). In training it uses the batch's
// statistics and tracks them: running ← (1−momentum)·running + momentum·batch, with the unbiased variance
// as PyTorch does; otherwise it uses the running ones. mean and variance are states of shape (C).
func (g *Graph) BatchNorm(x, gain, bias, mean, variance *Value, eps, momentum float64, train bool) *Value {
	if !train {
		return g.Apply("batchnorm_infer", Norm{eps}, x, gain, bias, mean, variance)
	}
	out := g.ApplyN("batchnorm", Norm{eps}, x, gain, bias)
	y, batchMean, batchVar := out[0], out[1], out[2]
	if m := float64(x.Shape.Size() / x.Shape[1]); m > 1 {
		batchVar = g.Apply("mul", nil, batchVar, g.Scalar(m/(m-1), batchVar.DType))
	}
	g.Track(mean, batchMean, momentum)
	g.Track(variance, batchVar, momentum)
	return y
}

// GroupNorm normalises x (N,C,…) per sample and group of C/groups consecutive channels, then applies gain and
// bias (C).
func (g *Graph) GroupNorm(x, gain, bias *Value, groups int, eps float64) *Value {
	return g.Apply("groupnorm", GroupNorm{groups, eps}, x, gain, bias)
}
