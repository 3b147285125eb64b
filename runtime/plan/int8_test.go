package plan

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

// qdq is a small convolutional network in QDQ form: conv, relu, pool, flatten, dense.
func qdq(g *graph.Graph) {
	scalar := func(v float32) *graph.Value { return g.Const(tensor.Of(tensor.Shape{}, v)) }
	zero := g.Const(tensor.Of(tensor.Shape{}, int8(-3)))
	round := func(x *graph.Value, scale *graph.Value) *graph.Value {
		return g.DequantizeLinear(g.QuantizeLinear(x, scale, zero, 0), scale, zero, 0)
	}
	weight := func(xs float32, axis int, shape ...int) (w, b *graph.Value) {
		n := shape[axis]
		scale, bias := tensor.New(tensor.F32, n), tensor.New(tensor.F32, n)
		for i := range n {
			tensor.Data[float32](scale)[i] = 0.5
			tensor.Data[float32](bias)[i] = 0.5 * xs
		}
		q := g.DequantizeLinear(g.Const(tensor.New(tensor.I8, shape...)), g.Const(scale), g.Const(tensor.New(tensor.I8, n)), axis)
		return q, g.DequantizeLinear(g.Const(tensor.New(tensor.I32, n)), g.Const(bias), g.Const(tensor.New(tensor.I32, n)), 0)
	}
	s1, s2 := scalar(0.5), scalar(0.25)
	w, b := weight(0.5, 0, 6, 2, 3, 3)
	x := g.Relu(g.Conv2D(round(g.Input("x", tensor.F32, 3, 2, 8, 8), s1), w, b, graph.Conv2D{}))
	x = g.MaxPool2D(round(x, s2), graph.Pool2D{Kernel: [2]int{2, 2}, Stride: [2]int{2, 2}})
	x = round(g.Reshape(round(x, s2), 3, 54), s2)
	w, b = weight(0.25, 0, 5, 54)
	g.Output("y", g.LinearT(x, w, b))
}

// TestInt8Fuses: everything between the first quantizer and the logits runs on 8-bit numbers, in (N,H,W,C), without
// a transposition but that of the image.
func TestInt8Fuses(t *testing.T) {
	t.Parallel()
	g, err := graph.Build(qdq)
	require.NoError(t, err)
	p, err := Compile(g, Options{})
	require.NoError(t, err)
	var ops []string
	for _, in := range p.Instrs {
		ops = append(ops, in.Op.Name)
	}
	require.Equal(t, "quantize_linear transpose qconv2d qmaxpool2d qmatmul", strings.Join(ops, " "))
	conv := p.Instrs[2].Attrs.(graph.QConv2D)
	require.Equal(t, graph.Requant{Out: tensor.I8, Bias: true, Act: "relu"}, conv.Requant)
	require.True(t, conv.NHWC)
	require.Equal(t, graph.QMatMul{Requant: graph.Requant{Out: tensor.F32, Bias: true}, TransB: true}, p.Instrs[4].Attrs)
	require.Equal(t, tensor.I32, p.Instrs[4].In[6].Type.DType, "the bias is added to the integer sums")

	g, err = graph.Build(qdq)
	require.NoError(t, err)
	p, err = Compile(g, Options{Disable: []string{"int8"}})
	require.NoError(t, err)
	for _, in := range p.Instrs {
		require.False(t, strings.HasPrefix(in.Op.Name, "qm") || strings.HasPrefix(in.Op.Name, "qc"), in.Op.Name)
	}
}

// A quantizer of another scale is no identity, and a float reader in between keeps the float value.
func TestInt8KeepsMeaning(t *testing.T) {
	t.Parallel()
	g, err := graph.Build(func(g *graph.Graph) {
		s, other := g.Const(tensor.Of(tensor.Shape{}, float32(0.5))), g.Const(tensor.Of(tensor.Shape{}, float32(0.25)))
		z := g.Const(tensor.Of(tensor.Shape{}, int8(0)))
		x := g.DequantizeLinear(g.QuantizeLinear(g.Input("x", tensor.F32, 4, 6), s, z, 0), s, z, 0)
		y := g.Reshape(x, 6, 4)
		g.Output("float", g.Exp(y))
		g.Output("int", g.QuantizeLinear(y, other, z, 0))
	})
	require.NoError(t, err)
	p, err := Compile(g, Options{})
	require.NoError(t, err)
	var ops []string
	for _, in := range p.Instrs {
		ops = append(ops, in.Op.Name)
	}
	require.ElementsMatch(t, []string{"quantize_linear", "dequantize_linear", "exp", "quantize_linear"}, ops)
}
