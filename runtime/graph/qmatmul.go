package graph

import (
	"fmt"
	"slices"

	"ringo/runtime/tensor"
)

// Requant says what becomes of the int32 sums of an integer product, in the attribute structs of "qmatmul" and
// "qconv2d". sum is Σ (x − xz)·(w − wz) plus the I32 bias, modulo 2³²; j is its column or output channel.
//
//	I8, U8:  y = saturate(round(f32(sum)·m[j]) + yz), ties to even, m[j] = (xs·ws[j])/ys; relu: y at least yz
//	F32:     y = act(f32(sum)·(xs·ws[j]) + bias[j]) + residual
//	I32:     y = sum
//
// All of it is float32 arithmetic, each operation rounded once, none fused: kernels/quant.go is the definition.
// With gelu, silu or an F32 bias the I8 and U8 form is y = saturate(round(act(f32(sum)·(xs·ws[j]) + bias[j])/ys) + yz).
type Requant struct {
	Out      tensor.DType // I8, U8, F32 or I32
	Bias     bool         // I32, added to the sums, or F32, where sums are scaled before it is added
	Act      string       // as MatMul.Act; on I32 none
	Residual bool         // F32 only
}

// QMatMul is the attribute struct of "qmatmul": inputs x (…,M,K) i8 or u8, xs, xz (one element), w (K,N) or (N,K),
// ws, wz (one element or N), then ys, yz (one element) for 8-bit results, bias (N), residual (as y).
type QMatMul struct {
	Requant
	TransB bool // w is (N,K)
}

// QConv2D is the attribute struct of "qconv2d": inputs as QMatMul's with x (N,C,H,W) and w (O,C/Groups,KH,KW); padding
// counts as xz. Conv's own Bias and Act are not used.
type QConv2D struct {
	Requant
	Conv Conv2D
	NHWC bool // x is (N,H,W,C) and y (N,OH,OW,O)
}

// QPool2D is the attribute struct of "qmaxpool2d" on i8 or u8.
type QPool2D struct {
	Pool Pool2D
	NHWC bool
}

// InFloat reports whether the result is computed in real numbers before it is rounded, as for F32.
func (a Requant) InFloat(bias tensor.DType) bool {
	return a.Out == tensor.F32 || (a.Act != "" && a.Act != "relu") || (a.Bias && bias == tensor.F32)
}

// Inputs counts what the attributes ask for.
func (a Requant) Inputs() int {
	n := 6
	if is8Bit(a.Out) {
		n += 2
	}
	for _, b := range []bool{a.Bias, a.Residual} {
		if b {
			n++
		}
	}
	return n
}

// Tail returns the inputs after the sixth by their role, nil where they are not asked for. T is *Value for nodes, a
// view or a reference elsewhere.
func Tail[T any](a Requant, in []T) (ys, yz, bias, residual *T) {
	in = in[6:]
	take := func(want bool) (p *T) {
		if want {
			p, in = &in[0], in[1:]
		}
		return p
	}
	quantized := is8Bit(a.Out)
	return take(quantized), take(quantized), take(a.Bias), take(a.Residual)
}

// check says what does not fit in the operands of an integer product with cols columns and result shape y.
func (a Requant) check(n *Node, cols int, y tensor.Shape) ([]Type, error) {
	if len(n.In) != a.Inputs() {
		return nil, fmt.Errorf("%d inputs, attributes %+v ask for %d", len(n.In), a, a.Inputs())
	}
	x, xs, xz, w, ws, wz := n.In[0], n.In[1], n.In[2], n.In[3], n.In[4], n.In[5]
	if !is8Bit(x.DType) || !is8Bit(w.DType) || xz.DType != x.DType || wz.DType != w.DType {
		return nil, fmt.Errorf("factors %v and %v, zero points %v and %v: expected i8 or u8, zero points as their factors", x.Type, w.Type, xz.Type, wz.Type)
	}
	if !xs.DType.IsFloat() || !ws.DType.IsFloat() || xs.Shape.Size() != 1 || xz.Shape.Size() != 1 {
		return nil, fmt.Errorf("scale %v and zero point %v of x, scale %v of w: expected floats, of one element for x", xs.Type, xz.Type, ws.Type)
	}
	for _, v := range []*Value{ws, wz} {
		if v.Shape.Size() != 1 && !v.Shape.Equal(tensor.Shape{cols}) {
			return nil, fmt.Errorf("scale or zero point %v of w: expected one element or (%d)", v.Type, cols)
		}
	}
	ys, yz, bias, residual := Tail(a, n.In)
	if ys != nil && (!(*ys).DType.IsFloat() || (*ys).Shape.Size() != 1 || (*yz).DType != a.Out || (*yz).Shape.Size() != 1) {
		return nil, fmt.Errorf("scale %v and zero point %v of the result: expected a float and %v of one element", (*ys).Type, (*yz).Type, a.Out)
	}
	if bias != nil && !(*bias).Shape.Equal(tensor.Shape{cols}) {
		return nil, fmt.Errorf("bias %v, expected (%d)", (*bias).Type, cols)
	}
	if bias != nil && (*bias).DType != tensor.I32 && ((*bias).DType != tensor.F32 || a.Out == tensor.I32) {
		return nil, fmt.Errorf("bias %v, expected i32, or f32 where the sums are scaled", (*bias).Type)
	}
	if residual != nil && (a.Out != tensor.F32 || !(*residual).Type.Equal(Type{a.Out, y})) {
		return nil, fmt.Errorf("residual %v, expected f32%v and an f32 result", (*residual).Type, y)
	}
	if !slices.Contains(activations, a.Act) || (a.Out == tensor.I32 && a.Act != "") {
		return nil, fmt.Errorf("activation %q of a result in %v: expected one of %q, none in i32", a.Act, a.Out, activations)
	}
	if !is8Bit(a.Out) && a.Out != tensor.F32 && a.Out != tensor.I32 {
		return nil, fmt.Errorf("result in %v, expected i8, u8, f32 or i32", a.Out)
	}
	return []Type{{a.Out, y}}, nil
}

func qmatmulInfer(n *Node) ([]Type, error) {
	a := attrs[QMatMul](n)
	if len(n.In) < 6 {
		return nil, fmt.Errorf("%d inputs, expected at least 6", len(n.In))
	}
	if len(n.In[3].Shape) != 2 {
		return nil, fmt.Errorf("weight %v, expected rank 2", n.In[3].Type)
	}
	s, y, err := MatMul{TransB: a.TransB}.Sizes(n.In[0].Shape, n.In[3].Shape)
	if err != nil {
		return nil, err
	}
	return a.check(n, s.N, y)
}

// Shapes returns x and y of a convolution as (N,C,H,W), whatever the layout.
func (a QConv2D) Shapes(x, w []int) (x4, y [4]int, err error) {
	if len(x) != 4 {
		return x4, y, fmt.Errorf("input %v, expected rank 4", x)
	}
	x4 = [4]int(x)
	if a.NHWC {
		x4 = [4]int{x[0], x[3], x[1], x[2]}
	}
	y, err = a.Conv.OutShape(x4[:], w)
	return x4, y, err
}

func layout(nhwc bool, s [4]int) tensor.Shape {
	if nhwc {
		return tensor.Shape{s[0], s[2], s[3], s[1]}
	}
	return s[:]
}

func qconvInfer(n *Node) ([]Type, error) {
	a := attrs[QConv2D](n)
	if len(n.In) < 6 {
		return nil, fmt.Errorf("%d inputs, expected at least 6", len(n.In))
	}
	_, y, err := a.Shapes(n.In[0].Shape, n.In[3].Shape)
	if err != nil {
		return nil, err
	}
	return a.check(n, y[1], layout(a.NHWC, y))
}

func qpoolInfer(n *Node) ([]Type, error) {
	a, x := attrs[QPool2D](n), n.In[0]
	if !is8Bit(x.DType) || len(x.Shape) != 4 {
		return nil, fmt.Errorf("input %v, expected i8 or u8 of rank 4", x.Type)
	}
	s := [4]int(x.Shape)
	if a.NHWC {
		s = [4]int{s[0], s[3], s[1], s[2]}
	}
	y, err := a.Pool.OutShape(s[:])
	return []Type{{x.DType, layout(a.NHWC, y)}}, err
}

// qembedding: rows of a quantized table, as real numbers.
func qembeddingInfer(n *Node) ([]Type, error) {
	table, scale, zero, ids := n.In[0], n.In[1], n.In[2], n.In[3]
	if len(table.Shape) != 2 || !is8Bit(table.DType) || zero.DType != table.DType {
		return nil, fmt.Errorf("table %v with zero point %v: expected i8 or u8 (V,C)", table.Type, zero.Type)
	}
	if err := (Quantize{}).check(table.Shape, scale, zero); err != nil {
		return nil, err
	}
	return []Type{{scale.DType, append(ids.Shape.Clone(), table.Shape[1])}}, isIndex(ids)
}

func init() {
	flops := func(n *Node) int64 {
		y, w := n.Out[0].Shape, n.In[3].Shape
		k := w[1:].Size()
		if a, ok := n.Attrs.(QMatMul); ok && !a.TransB {
			k = w[0]
		}
		return 2 * int64(y.Size()) * int64(k)
	}
	register(
		Op{Name: "qmatmul", MinIn: 6, MaxIn: 10, Infer: qmatmulInfer, FLOPs: flops, Samples: qmatmulSamples()},
		Op{Name: "qconv2d", MinIn: 6, MaxIn: 10, Infer: qconvInfer, FLOPs: flops, Samples: qconvSamples()},
		// qmaxpool2d: the maximum of every window; rounding is monotone, so it may come before or after.
		Op{Name: "qmaxpool2d", MinIn: 1, Infer: qpoolInfer, Samples: qpoolSamples(),
			FLOPs: func(n *Node) int64 {
				k := attrs[QPool2D](n).Pool.Kernel
				return int64(n.Out[0].Shape.Size() * k[0] * k[1])
			}},
		// qembedding(table, scale, zero, ids) = (table[ids] − zero)·scale, one scale or one per row of the table.
		Op{Name: "qembedding", MinIn: 4, Infer: qembeddingInfer, Samples: []Sample{
			{In: []SampleIn{{Shape: tensor.Shape{9, 33}, DType: tensor.I8, Lo: -128, Hi: 128}, InRange(0.01, 0.05, 9),
				{Shape: tensor.Shape{9}, DType: tensor.I8, Max: 1}, InIndex(9, 3, 5)}},
		}},
	)
}
