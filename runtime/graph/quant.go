package graph

import (
	"fmt"

	"ringo/runtime/tensor"
)

// Quantization in the form of ONNX: real ≈ (q − zero)·scale, with q of I8, U8 or I32.

// Quantize is the attribute struct of "quantize_linear" and "dequantize_linear". A scale of one element
// holds for the whole tensor. One of rank 1 holds for the slices along Axis. With Block > 0 the scale has x's
// shape, but along Axis one element per Block elements of x.
type Quantize struct {
	Axis  int
	Block int
}

// ScaleIndex returns, for the element at flat position i of a tensor of the given shape, the position of its
// scale in a tensor of shape scale.
func (a Quantize) ScaleIndex(shape, scale tensor.Shape, i int) int {
	if scale.Size() == 1 {
		return 0
	}
	axis, err := shape.Axis(a.Axis)
	if err != nil {
		panic(err) // the shape rule let it through
	}
	inner := shape[axis+1:].Size()
	at := i / inner % shape[axis]
	if a.Block == 0 {
		return at
	}
	outer := i / inner / shape[axis]
	return (outer*scale[axis]+at/a.Block)*inner + i%inner
}

// check says what does not fit between x, its scale and its zero point.
func (a Quantize) check(x tensor.Shape, scale, zero *Value) error {
	if !scale.DType.IsFloat() {
		return fmt.Errorf("scale %v, expected floats", scale.Type)
	}
	if !zero.Shape.Equal(scale.Shape) {
		return fmt.Errorf("zero point %v, expected the scale's shape %v", zero.Type, scale.Shape)
	}
	if scale.Shape.Size() == 1 && a.Block == 0 {
		return nil
	}
	axis, err := x.Axis(a.Axis)
	if err != nil {
		return err
	}
	want := tensor.Shape{x[axis]}
	if a.Block > 0 {
		want = x.Clone()
		want[axis] = (x[axis] + a.Block - 1) / a.Block
	}
	if !scale.Shape.Equal(want) {
		return fmt.Errorf("scale %v of input %v: expected one element, or %v for axis %d", scale.Type, x, want, axis)
	}
	return nil
}

func is8Bit(d tensor.DType) bool { return d == tensor.I8 || d == tensor.U8 }

func quantizeInfer(n *Node) ([]Type, error) {
	x, zero := n.In[0], n.In[2]
	if !x.DType.IsFloat() || !is8Bit(zero.DType) {
		return nil, fmt.Errorf("input %v and zero point %v: expected floats and i8 or u8", x.Type, zero.Type)
	}
	return []Type{{zero.DType, x.Shape}}, attrs[Quantize](n).check(x.Shape, n.In[1], zero)
}

func dequantizeInfer(n *Node) ([]Type, error) {
	x, scale, zero := n.In[0], n.In[1], n.In[2]
	if (!is8Bit(x.DType) && x.DType != tensor.I32) || zero.DType != x.DType {
		return nil, fmt.Errorf("input %v and zero point %v: expected both i8, u8 or i32", x.Type, zero.Type)
	}
	return []Type{{scale.DType, x.Shape}}, attrs[Quantize](n).check(x.Shape, scale, zero)
}

func dynamicQuantizeInfer(n *Node) ([]Type, error) {
	if n.In[0].DType != tensor.F32 {
		return nil, fmt.Errorf("input %v, expected f32", n.In[0].Type)
	}
	return []Type{{tensor.U8, n.In[0].Shape}, {tensor.F32, tensor.Shape{}}, {tensor.U8, tensor.Shape{}}}, nil
}

// fakeQuantVJP, the straight-through estimator (Bengio et al. 2013, arXiv 1308.3432): rounding counts as the
// identity, what is outside the range has no gradient.
func fakeQuantVJP(g *Graph, n *Node, dy []*Value) []*Value {
	return []*Value{g.Apply("fake_quantize_grad", n.Attrs, n.In[0], n.In[1], n.In[2], dy[0]), nil, nil}
}

// FakeQuantize is the attribute struct of "fake_quantize" and its gradient; Symmetric rounds as int8 weights do (−127…127,
// zero point 0, hi alone counts), else as activations (256 levels between lo and hi, with 0 among them).
type FakeQuantize struct {
	Axis      int
	Symmetric bool
}

func fakeQuantInfer(n *Node) ([]Type, error) {
	dt, err := sameFloat(n)
	if err != nil {
		return nil, err
	}
	x := n.In[0]
	return []Type{{dt, x.Shape}}, Quantize{Axis: attrs[FakeQuantize](n).Axis}.check(x.Shape, n.In[1], n.In[2])
}

func init() {
	one := func(d tensor.DType) SampleIn { return SampleIn{Shape: tensor.Shape{}, DType: d, Max: 5} }
	scale := InRange(0.015, 0.025)
	scales := func(n int) SampleIn { return InRange(0.01, 0.05, n) }
	i8 := func(shape ...int) SampleIn { return SampleIn{Shape: shape, DType: tensor.I8, Lo: -128, Hi: 128} }
	register(
		// quantize_linear(x, scale, zero) = saturate(round(x/scale) + zero), ties to even; zero's type.
		Op{Name: "quantize_linear", MinIn: 3, Infer: quantizeInfer, Samples: []Sample{
			{Name: "i8", In: []SampleIn{InRange(-3, 3, 3, 67), scale, one(tensor.I8)}},
			{Name: "u8", In: []SampleIn{InRange(-3, 3, 130), scale, one(tensor.U8)}},
			{Name: "axis0", In: []SampleIn{InRange(-3, 3, 5, 33), scales(5), {Shape: tensor.Shape{5}, DType: tensor.I8, Max: 9}}},
			{Name: "axis1", In: []SampleIn{InRange(-3, 3, 2, 3, 7), scales(3), {Shape: tensor.Shape{3}, DType: tensor.U8, Max: 9}}, Attrs: Quantize{Axis: 1}},
			{Name: "blocks", In: []SampleIn{InRange(-3, 3, 2, 7), InRange(0.01, 0.05, 2, 3), {Shape: tensor.Shape{2, 3}, DType: tensor.I8, Max: 9}}, Attrs: Quantize{Axis: 1, Block: 3}},
		}},
		// dequantize_linear(q, scale, zero) = (q − zero)·scale.
		Op{Name: "dequantize_linear", MinIn: 3, Infer: dequantizeInfer, Samples: []Sample{
			{Name: "i8", In: []SampleIn{i8(3, 67), scale, one(tensor.I8)}},
			{Name: "axis", In: []SampleIn{i8(4, 33), scales(33), {Shape: tensor.Shape{33}, DType: tensor.I8, Max: 9}}, Attrs: Quantize{Axis: 1}},
			{Name: "i32", In: []SampleIn{{Shape: tensor.Shape{17}, DType: tensor.I32, Lo: -9000, Hi: 9000}, scales(17), {Shape: tensor.Shape{17}, DType: tensor.I32, Max: 1}}},
		}},
		// dynamic_quantize(x) → (q u8, scale, zero): ONNX DynamicQuantizeLinear, the range of x itself.
		Op{Name: "dynamic_quantize", MinIn: 1, Infer: dynamicQuantizeInfer, Samples: []Sample{
			{In: []SampleIn{{Shape: tensor.Shape{3, 67}, DType: tensor.F32, Lo: -3, Hi: 2}}},
		}},
		// fake_quantize(x, lo, hi): quantized and dequantized at once, for training; lo and hi give the range.
		Op{Name: "fake_quantize", MinIn: 3, Infer: fakeQuantInfer, VJP: fakeQuantVJP, Samples: []Sample{
			{Name: "activation", In: []SampleIn{InRange(-3, 3, 3, 67), InRange(-2, -1), InRange(1, 2)},
				NoGrad: true, Why: "a staircase: its gradient is straight-through by definition; rounding may fall to the other step", Tol: 0.02},
			{Name: "weights", In: []SampleIn{InRange(-3, 3, 5, 9), InRange(-2, -1, 5), InRange(1, 2, 5)}, Attrs: FakeQuantize{Symmetric: true},
				NoGrad: true, Why: "as above", Tol: 0.02},
		}},
		// fake_quantize_grad(x, lo, hi, dy) = dy where lo ≤ x ≤ hi, else 0.
		Op{Name: "fake_quantize_grad", MinIn: 4, Infer: fakeQuantInfer, Samples: []Sample{
			{In: []SampleIn{InRange(-3, 3, 3, 67), InRange(-2, -1), InRange(1, 2), In(3, 67)}},
			{In: []SampleIn{InRange(-3, 3, 5, 9), InRange(-2, -1, 5), InRange(1, 2, 5), In(5, 9)}, Attrs: FakeQuantize{Symmetric: true}},
		}},
	)
}

// QuantizeLinear rounds x to zero's 8-bit type; scale and zero have one element, or one per slice along axis.
func (g *Graph) QuantizeLinear(x, scale, zero *Value, axis int) *Value {
	return g.Apply("quantize_linear", Quantize{Axis: axis}, x, scale, zero)
}

// DequantizeLinear is the real number that q stands for.
func (g *Graph) DequantizeLinear(q, scale, zero *Value, axis int) *Value {
	return g.Apply("dequantize_linear", Quantize{Axis: axis}, q, scale, zero)
}
