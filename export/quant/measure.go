package quant

import (
	"errors"

	"ringo/export"
	"ringo/runtime/backend"
	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

// bench runs one layer alone on a sample of its input, in float and quantized.
type bench struct {
	device  backend.Backend
	node    *graph.Node
	sample  *tensor.Tensor
	weights export.Weights
	float   *tensor.Tensor
}

// benchResults bounds the results of a layer that is measured alone.
const benchResults = 4 << 20

// fewer cuts a sample whose results would be more than benchResults: the logits of a large vocabulary.
func fewer(x *tensor.Tensor, n *graph.Node) *tensor.Tensor {
	k := x.Shape[len(x.Shape)-1]
	rows, outs := x.Size()/max(1, k), n.Out[0].Shape[len(n.Out[0].Shape)-1]
	if n.Op.Name != "matmul" || rows*outs <= benchResults {
		return x
	}
	out := tensor.New(x.DType, max(1, benchResults/outs), k)
	copy(out.Bytes(), x.Bytes())
	return out
}

// graph is the layer as a model of its own: input x, output y.
func (b *bench) graph() (*graph.Graph, error) {
	return graph.Build(func(g *graph.Graph) {
		in := []*graph.Value{g.Input("x", tensor.F32, b.sample.Shape...)}
		for _, v := range b.node.In[1:] {
			in = append(in, g.Param(graph.Leaf{Name: v.Node.Name, Type: v.Type}))
		}
		g.Output("y", g.Apply(b.node.Op.Name, b.node.Attrs, in...))
	})
}

func (b *bench) run(g *graph.Graph, w export.Weights) (y *tensor.Tensor, err error) {
	p, err := compile(b.device, g, w)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	if err := p.Feed("x", b.sample.Bytes()); err != nil {
		return nil, err
	}
	if err := p.run(); err != nil {
		return nil, err
	}
	return p.fetch("y")
}

// reference computes the float result that errors are measured against.
func (b *bench) reference() error {
	g, err := b.graph()
	if err == nil {
		b.float, err = b.run(g, b.weights)
	}
	return err
}

// measured is ‖y_int8 − y‖²/‖y‖² of the layer with its input range and tensors.
func (b *bench) measured(l Layer, r *Recipe, tensors export.Tensors) (float64, error) {
	g, err := b.graph()
	if err != nil {
		return 0, err
	}
	l.Out = nil
	if g, err = Apply(g, &Recipe{Format: r.Format, Activation: r.Activation, Layers: []Layer{l}}, tensors); err != nil {
		return 0, err
	}
	y, err := b.run(g, overlay{b.weights, tensors, nil})
	if err != nil {
		return 0, err
	}
	var wrong, all float64
	got := tensor.Data[float32](y)
	for i, v := range tensor.Data[float32](b.float) {
		want, d := float64(v), float64(got[i])-float64(v)
		wrong += d * d
		all += want * want
	}
	if all == 0 {
		return wrong, nil
	}
	return wrong / all, nil
}
