package graph

import (
	"fmt"

	"ringo/runtime/tensor"
)

// Pool2D is the attribute struct of "maxpool2d" and "avgpool2d" on x (N,C,H,W), with the semantics of ONNX
// MaxPool and AveragePool. A zero Stride or Dilation means 1.
type Pool2D struct {
	Kernel, Stride, Dilation [2]int // along H, W
	Pad                      [4]int // top, left, bottom, right
	// Ceil rounds the output size up; a window that would start beyond the input and its leading padding
	// is dropped.
	Ceil bool
	// CountPad makes the average divide by the taps inside the padded plane, not only those inside x.
	CountPad bool
}

// Pool2DGrad is the attribute struct of "maxpool2d_grad" (dy, idx → dx) and "avgpool2d_grad" (dy → dx);
// Shape is x's.
type Pool2DGrad struct {
	Pool  Pool2D
	Shape [4]int
}

// Norm returns a with the defaults written out.
func (a Pool2D) Norm() Pool2D {
	for i := range a.Stride {
		a.Stride[i] = max(a.Stride[i], 1)
		a.Dilation[i] = max(a.Dilation[i], 1)
	}
	return a
}

// OutShape returns the pooled shape of x (N,C,H,W).
func (a Pool2D) OutShape(x []int) (y [4]int, err error) {
	a = a.Norm()
	if len(x) != 4 {
		return y, fmt.Errorf("input %v, expected (N,C,H,W)", x)
	}
	y[0], y[1] = x[0], x[1]
	for i, axis := range []string{"height", "width"} {
		in, k, s, d := x[2+i], a.Kernel[i], a.Stride[i], a.Dilation[i]
		before, after := a.Pad[i], a.Pad[2+i]
		n, err := convOut(axis, in, k, s, d, before, after)
		if err != nil {
			return y, err
		}
		if a.Ceil { // one window more if pixels are left over and it starts on input or leading padding
			left := (in + before + after - (k-1)*d - 1) % s
			if left > 0 && n*s < in+before {
				n++
			}
		}
		y[2+i] = n
	}
	return y, nil
}

func poolInfer(n *Node) ([]Type, error) {
	dt, err := sameFloat(n)
	if err != nil {
		return nil, err
	}
	y, err := attrs[Pool2D](n).OutShape(n.In[0].Shape)
	if err != nil {
		return nil, err
	}
	out := []Type{{dt, y[:]}}
	if n.Op.Name == "maxpool2d" {
		out = append(out, Type{tensor.I32, y[:]})
	}
	return out, nil
}

func poolGradInfer(n *Node) ([]Type, error) {
	a, dy := attrs[Pool2DGrad](n), n.In[0]
	y, err := a.Pool.OutShape(a.Shape[:])
	if err != nil {
		return nil, err
	}
	if !dy.DType.IsFloat() || !dy.Shape.Equal(y[:]) {
		return nil, fmt.Errorf("cotangent %v, expected floats %v for input %v", dy.Type, tensor.Shape(y[:]), a.Shape)
	}
	if len(n.In) == 2 && !n.In[1].Type.Equal(Type{tensor.I32, y[:]}) {
		return nil, fmt.Errorf("indices %v, expected %v", n.In[1].Type, Type{tensor.I32, y[:]})
	}
	return []Type{{dy.DType, a.Shape[:]}}, nil
}

// MaxPool2D returns the maximum of every window of x (N,C,H,W). NaN wins; of equals the first.
func (g *Graph) MaxPool2D(x *Value, a Pool2D) *Value { return g.Apply("maxpool2d", a, x) }

// AvgPool2D returns the mean of every window of x (N,C,H,W).
func (g *Graph) AvgPool2D(x *Value, a Pool2D) *Value { return g.Apply("avgpool2d", a, x) }

// GlobalAvgPool returns the mean over the pixels of x (N,C,H,W), as (N,C).
func (g *Graph) GlobalAvgPool(x *Value) *Value {
	return g.Apply("mean", Reduce{Axes: []int{2, 3}}, x)
}

func poolFLOPs(y []int, k [2]int) int64 { return int64(y[0]*y[1]*y[2]*y[3]) * int64(k[0]*k[1]) }

func init() {
	pool := func(n *Node) int64 { return poolFLOPs(n.Out[0].Shape, attrs[Pool2D](n).Kernel) }
	register(
		// maxpool2d: x → (y, I32 index of the maximum within its plane, row·W + column).
		Op{Name: "maxpool2d", MinIn: 1, Infer: poolInfer, FLOPs: pool, Samples: poolSamples(true),
			VJP: func(g *Graph, n *Node, dy []*Value) []*Value {
				if dy[0] == nil {
					return []*Value{nil}
				}
				return []*Value{g.Apply("maxpool2d_grad", Pool2DGrad{attrs[Pool2D](n), [4]int(n.In[0].Shape)}, dy[0], n.Out[1])}
			}},
		// maxpool2d_grad: dx[p] = Σ over windows whose maximum lies at p of dy, in the order of windows.
		Op{Name: "maxpool2d_grad", MinIn: 2, Infer: poolGradInfer, Samples: maxPoolGradSamples(),
			FLOPs: func(n *Node) int64 { return int64(n.In[0].Shape.Size()) }},
		Op{Name: "avgpool2d", MinIn: 1, Infer: poolInfer, FLOPs: pool, Samples: poolSamples(false),
			VJP: func(g *Graph, n *Node, dy []*Value) []*Value {
				return []*Value{g.Apply("avgpool2d_grad", Pool2DGrad{attrs[Pool2D](n), [4]int(n.In[0].Shape)}, dy[0])}
			}},
		// avgpool2d_grad: dx[p] = Σ over windows that contain p of dy / divisor; linear, so its VJP is avgpool2d.
		Op{Name: "avgpool2d_grad", MinIn: 1, Infer: poolGradInfer, Samples: avgPoolGradSamples(),
			FLOPs: func(n *Node) int64 { return poolFLOPs(n.In[0].Shape, attrs[Pool2DGrad](n).Pool.Kernel) },
			VJP: func(g *Graph, n *Node, dy []*Value) []*Value {
				return []*Value{g.Apply("avgpool2d", attrs[Pool2DGrad](n).Pool, dy[0])}
			}},
	)
}

type poolCase struct {
	name string
	x    [4]int
	a    Pool2D
}

func poolCases() []poolCase {
	two, three := [2]int{2, 2}, [2]int{3, 3}
	return []poolCase{
		{"2x2", [4]int{2, 3, 6, 8}, Pool2D{Kernel: two, Stride: two}},
		{"2x2-odd-wide", [4]int{1, 2, 5, 67}, Pool2D{Kernel: two, Stride: two}},
		{"2x2-ceil", [4]int{1, 2, 5, 7}, Pool2D{Kernel: two, Stride: two, Ceil: true}},
		{"3x3-stride2-pad1", [4]int{2, 2, 9, 12}, Pool2D{Kernel: three, Stride: two, Pad: pad4(1)}},
		{"3x3-overlap", [4]int{1, 3, 5, 19}, Pool2D{Kernel: three}},
		{"count-pad", [4]int{1, 2, 6, 5}, Pool2D{Kernel: three, Stride: two, Pad: [4]int{1, 0, 0, 2}, CountPad: true, Ceil: true}},
		{"dilated", [4]int{1, 2, 9, 8}, Pool2D{Kernel: [2]int{2, 3}, Dilation: [2]int{3, 2}, Pad: [4]int{1, 1, 0, 1}}},
	}
}

func poolSamples(distinct bool) []Sample {
	var out []Sample
	for _, c := range poolCases() {
		in := In(c.x[:]...)
		in.Distinct = distinct
		out = append(out, Sample{Name: c.name, In: []SampleIn{in}, Attrs: c.a})
	}
	return out
}

func avgPoolGradSamples() []Sample {
	var out []Sample
	for _, c := range poolCases() {
		y, _ := c.a.OutShape(c.x[:])
		out = append(out, Sample{Name: c.name, In: []SampleIn{In(y[:]...)}, Attrs: Pool2DGrad{c.a, c.x}})
	}
	return out
}

// Random indices anywhere in the plane are harder than those of a real pooling: many windows share a pixel.
// Disjoint windows are left out, as their kernel relies on each maximum lying in its own window; the
// gradient check of maxpool2d covers them.
func maxPoolGradSamples() []Sample {
	var out []Sample
	for _, c := range poolCases() {
		if c.a.Kernel == c.a.Stride {
			continue
		}
		y, _ := c.a.OutShape(c.x[:])
		out = append(out, Sample{Name: c.name, Attrs: Pool2DGrad{c.a, c.x}, NoGrad: true, Why: "the op has no derivative of its own",
			In: []SampleIn{In(y[:]...), InIndex(c.x[2]*c.x[3], y[:]...)}})
	}
	return out
}
