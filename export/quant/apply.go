package quant

import (
	"fmt"
	"slices"

	"ringo/export"
	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

// Names of the tensors that take a float parameter's place.
func int8Name(weight string) string  { return weight + "_int8" }
func scaleName(weight string) string { return weight + "_scale" }
func int32Name(bias string) string   { return bias + "_int32" }

// Apply rewrites a float inference graph into QDQ form. Weights become int8 parameters, read under int8Name; their
// scales, and activations' scales and zero points, are constants. tensors holds the quantized weights and scales.
func Apply(g *graph.Graph, r *Recipe, tensors export.Tensors) (*graph.Graph, error) {
	a := &applier{recipe: r, tensors: tensors, places: places(g, r), weights: map[string]*graph.Value{}, quantizers: map[string]*graph.Value{}}
	out, err := export.Rewrite(g, a.node)
	if err != nil {
		return nil, fmt.Errorf("int8: %w", err)
	}
	return export.Rewrite(out, nil) // without the float parameters that nothing reads now
}

type applier struct {
	recipe     *Recipe
	tensors    export.Tensors
	places     map[*graph.Value]Range
	weights    map[string]*graph.Value // dequantized, by parameter
	quantizers map[string]*graph.Value // scales and zero points, by what they say
}

// node returns what takes n's place.
func (a *applier) node(to *graph.Graph, n *graph.Node, in []*graph.Value) []*graph.Value {
	out := a.product(to, n, in)
	if out == nil && n.Op.Name == "embedding" && n.In[0].Node.Op.Name == "param" {
		if l := a.recipe.layer(n.In[0].Node.Name); l != nil && l.Axis == 0 {
			out = to.ApplyN("embedding", n.Attrs, a.weight(to, n, l, in[0]), in[1])
		}
	}
	r, quantize := a.places[firstOut(n)]
	if !quantize {
		return out
	}
	if out == nil {
		out = to.ApplyN(n.Op.Name, n.Attrs, in...)
	}
	out = slices.Clone(out) // the node's own outputs stay what they are
	out[0] = a.activation(to, out[0], r)
	return out
}

// activation is v behind a quantizer and a dequantizer.
func (a *applier) activation(to *graph.Graph, v *graph.Value, r Range) *graph.Value {
	scale, zero := r.Quantizer(a.recipe.dtype())
	key := fmt.Sprint(scale, zero)
	if a.quantizers[key] == nil {
		z := tensor.New(a.recipe.dtype())
		tensor.StoreFloat64(z.Bytes(), z.DType, []float64{float64(zero)})
		a.quantizers[key], a.quantizers["zero"+key] = to.Const(tensor.Of(tensor.Shape{}, scale)), to.Const(z)
	}
	s, z := a.quantizers[key], a.quantizers["zero"+key]
	return to.DequantizeLinear(to.QuantizeLinear(v, s, z, 0), s, z, 0)
}

// product rewrites a layer; nil for other nodes.
func (a *applier) product(to *graph.Graph, n *graph.Node, in []*graph.Value) []*graph.Value {
	w := weightOf(n)
	if w == nil {
		return nil
	}
	l := a.recipe.layer(w.Node.Name)
	if l == nil {
		return nil
	}
	args := []*graph.Value{in[0], a.weight(to, n, l, in[1])}
	switch r, ok := a.places[n.In[0]]; {
	case l.Dynamic:
		q := to.ApplyN("dynamic_quantize", nil, in[0])
		args[0] = to.DequantizeLinear(q[0], q[1], q[2], 0)
	case ok && in[0].Node.Op.Name != "dequantize_linear": // a graph's input
		args[0] = a.activation(to, in[0], r)
	}
	if len(in) > 2 {
		args = append(args, a.bias(to, n, l, in[2]))
	}
	return to.ApplyN(n.Op.Name, n.Attrs, args...)
}

// param adds a parameter of exactly that name, whatever scope the node opened.
func param(to *graph.Graph, name string, t graph.Type) *graph.Value {
	leaf := graph.Leaf{Name: name, Type: t, NoDecay: true}
	v := to.Param(leaf)
	v.Node.Name, v.Node.Attrs = name, leaf
	return v
}

func (a *applier) weight(to *graph.Graph, n *graph.Node, l *Layer, w *graph.Value) *graph.Value {
	if v := a.weights[l.Weight]; v != nil {
		return v
	}
	scale := a.tensors[scaleName(l.Weight)]
	if scale == nil {
		panic(&graph.Error{Op: n.Op.Name, Name: l.Weight, Err: fmt.Errorf("no tensor %q among the quantized weights", scaleName(l.Weight))})
	}
	q := param(to, int8Name(l.Weight), graph.Type{DType: tensor.I8, Shape: w.Shape})
	zero := to.Const(tensor.New(tensor.I8, scale.Shape...))
	a.weights[l.Weight] = to.DequantizeLinear(q, to.Const(scale), zero, l.Axis)
	return a.weights[l.Weight]
}

// bias is an int32 in units of the sums, xs·ws, dequantized. It stays float where the layer says so.
func (a *applier) bias(to *graph.Graph, n *graph.Node, l *Layer, b *graph.Value) *graph.Value {
	if !l.Integer || l.Dynamic {
		return b
	}
	q := param(to, int32Name(l.Bias), graph.Type{DType: tensor.I32, Shape: b.Shape})
	return to.DequantizeLinear(q, to.Const(biasScale(a.places[n.In[0]], a.recipe.dtype(), a.tensors[scaleName(l.Weight)])), to.Const(tensor.New(tensor.I32, b.Shape...)), 0)
}

// biasScale is xs·ws, the real value of one unit of the int32 sums.
func biasScale(in Range, d tensor.DType, ws *tensor.Tensor) *tensor.Tensor {
	xs, _ := in.Quantizer(d)
	out := tensor.New(tensor.F32, ws.Shape...)
	for i, s := range tensor.Data[float32](ws) {
		tensor.Data[float32](out)[i] = xs * s
	}
	return out
}

// Model is a quantized model: the float one it came from, the recipe, and what takes the place of float weights.
type Model struct {
	Float   *export.Inference
	Recipe  *Recipe
	Tensors export.Tensors            // int8Name, scaleName, int32Name; SmoothQuant's norms under their own names
	scaled  map[string]channelScaling // SmoothQuant's changes of weights, for layers that stay float
}

// channelScaling multiplies slice k along an axis of a weight by scales[k].
type channelScaling struct {
	axis   int
	shape  tensor.Shape
	scales []float64
}

// weights are the float weights with SmoothQuant's changes, and the tensors that take their place.
func (m *Model) weights() export.Weights { return overlay{m.Float.Weights, m.Tensors, m.scaled} }

// Inference is the model in QDQ form.
func (m *Model) Inference() *export.Inference {
	out := *m.Float
	out.Weights = m.weights()
	out.Build = func(batch, seq int) (*graph.Graph, error) {
		g, err := m.Float.Build(batch, seq)
		if err != nil {
			return nil, err
		}
		return Apply(g, m.Recipe, m.Tensors)
	}
	return &out
}

// overlay reads tensors before the weights below them, and scales some of these.
type overlay struct {
	export.Weights
	over   export.Tensors
	scaled map[string]channelScaling
}

// Tensor returns a tensor that is in memory, nil where Read must fetch it. It is not to be written to.
func (o overlay) Tensor(name string) *tensor.Tensor { return o.over[name] }

func (o overlay) Read(name string, dst []byte) error {
	if o.over[name] != nil {
		return o.over.Read(name, dst)
	}
	if err := o.Weights.Read(name, dst); err != nil {
		return err
	}
	if s, ok := o.scaled[name]; ok {
		t, err := tensor.FromBytes(tensor.F32, s.shape, dst)
		if err != nil {
			return err
		}
		multiplyChannels(t, s.axis, s.scales, false)
	}
	return nil
}
