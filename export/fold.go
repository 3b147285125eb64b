package export

import (
	"fmt"
	"math"

	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

// Fold puts batch norm into the convolution in front of it, as inference may:
//
//	(w∗x + b − mean)·s + bias = (w·s)∗x + (b − mean)·s + bias,  s = gain/√(var + eps) per output channel.
//
// The folded convolution keeps its weight's name and has a bias of its own. A batch norm behind anything else, or
// behind a convolution that others read too, stays as it is. Weights are folded when they are read.
func Fold(m *Inference) (*Inference, error) {
	g, err := m.Build(1, max(m.MaxSeq, 1))
	if err != nil {
		return nil, err
	}
	list := map[string]fold{}
	for _, f := range foldable(g) {
		list[f.weight], list[f.bias] = f, f
	}
	out := *m
	out.Weights = &folded{m.Weights, list}
	out.Build = func(batch, seq int) (*graph.Graph, error) {
		g, err := m.Build(batch, seq)
		if err != nil {
			return nil, err
		}
		if g, err = Rewrite(g, folder(foldable(g))); err != nil {
			return nil, err
		}
		return Rewrite(g, nil) // without the batch norms' parameters
	}
	return &out, nil
}

// fold is one convolution with the batch norm behind it.
type fold struct {
	conv, norm *graph.Node
	weight     string // of the convolution, (O,I,KH,KW)
	bias       string // of the folded convolution, (O)
	biased     bool   // the convolution has that bias before folding too
}

// foldable lists what can be folded, by position in the graph.
func foldable(g *graph.Graph) []fold {
	reads := map[*graph.Value]int{}
	for _, n := range g.Nodes {
		for _, v := range n.In {
			reads[v]++
		}
	}
	for _, o := range g.Outputs {
		reads[o.Value]++
	}
	var out []fold
	for _, n := range g.Nodes {
		if n.Op.Name != "batchnorm_infer" || n.In[0].DType != tensor.F32 || !leaves(n.In[1:]) {
			continue
		}
		conv := n.In[0].Node
		a, ok := conv.Attrs.(graph.Conv2D)
		if conv.Op.Name != "conv2d" || !ok || a.Act != "" || !leaves(conv.In[1:]) || reads[n.In[0]] != 1 || reads[conv.In[1]] != 1 {
			continue
		}
		f := fold{conv: conv, norm: n, weight: conv.In[1].Node.Name, bias: conv.Name + ".bias"}
		if f.biased = a.Bias; a.Bias {
			f.bias = conv.In[2].Node.Name
		}
		out = append(out, f)
	}
	return out
}

// leaves reports whether all values are parameters or states.
func leaves(list []*graph.Value) bool {
	for _, v := range list {
		if op := v.Node.Op.Name; op != "param" && op != "state" {
			return false
		}
	}
	return true
}

func folder(list []fold) func(*graph.Graph, *graph.Node, []*graph.Value) []*graph.Value {
	convs, norms := map[*graph.Node]bool{}, map[*graph.Node]bool{}
	for _, f := range list {
		convs[f.conv], norms[f.norm] = true, true
	}
	return func(to *graph.Graph, n *graph.Node, in []*graph.Value) []*graph.Value {
		switch {
		case convs[n]:
			if len(in) == 3 {
				return nil // only the contents of weight and bias change
			}
			w := in[1]
			bias := graph.Leaf{Name: "bias", Type: graph.Type{DType: w.DType, Shape: w.Shape[:1]}}
			return []*graph.Value{to.Conv2D(in[0], w, to.Param(bias), n.Attrs.(graph.Conv2D))}
		case norms[n]:
			return in[:1]
		}
		return nil
	}
}

// folded reads weights through the folds that concern them.
type folded struct {
	Weights
	list map[string]fold // by weight and by bias
}

// Read returns w·s for a folded weight and (b − mean)·s + bias for its bias, all computed in float64.
func (f *folded) Read(name string, dst []byte) error {
	x, ok := f.list[name]
	if !ok {
		return f.Weights.Read(name, dst)
	}
	p, err := f.norm(x)
	if err != nil {
		return err
	}
	out := tensor.View[float32](dst)
	if name == x.bias {
		if len(out) != len(p.scale) {
			return fmt.Errorf("weights: %q has %d elements, expected %d", name, len(out), len(p.scale))
		}
		for o := range out {
			out[o] = float32((p.old[o]-p.mean[o])*p.scale[o] + p.bias[o])
		}
		return nil
	}
	if err := f.Weights.Read(name, dst); err != nil {
		return err
	}
	row := len(out) / len(p.scale)
	for o, s := range p.scale {
		for i := range row {
			out[o*row+i] = float32(float64(out[o*row+i]) * s)
		}
	}
	return nil
}

// channels are a batch norm's numbers per channel, and the convolution's own bias.
type channels struct{ scale, bias, mean, old []float64 }

func (f *folded) norm(x fold) (c channels, err error) {
	size := x.norm.In[1].Shape.Size()
	read := func(name string) []float64 {
		t := tensor.New(tensor.F32, size)
		if err == nil {
			err = f.Weights.Read(name, t.Bytes())
		}
		return t.Float64s()
	}
	in := x.norm.In
	c.scale, c.bias, c.mean = read(in[1].Node.Name), read(in[2].Node.Name), read(in[3].Node.Name)
	variance := read(in[4].Node.Name)
	c.old = make([]float64, size)
	if x.biased {
		c.old = read(x.bias)
	}
	if err != nil {
		return c, err
	}
	eps := x.norm.Attrs.(graph.Norm).Eps
	for i, v := range variance {
		c.scale[i] /= math.Sqrt(v + eps)
	}
	return c, nil
}
