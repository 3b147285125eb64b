package graph

import "fmt"

// Conv2D is the attribute struct of "conv2d": x (N,C,H,W), w (O,C/Groups,KH,KW) [, bias (O)] → y (N,O,OH,OW),
//
//	y[n,o,i,j] = act(bias[o] + Σ_{c,r,s} x[n, c, i·StrideH + r·DilationH − top, j·StrideW + s·DilationW − left] · w[o,c,r,s]),
//
// where x is 0 outside its plane and c runs over the input channels of o's group: cross-correlation, what
// ONNX Conv and PyTorch's conv2d compute. A zero Stride, Dilation or Groups means 1.
type Conv2D struct {
	Stride, Dilation [2]int // along H, W
	Pad              [4]int // rows and columns of zeros at top, left, bottom, right
	Groups           int
	Bias             bool   // a third input holds the bias
	Act              string // "" or "relu", applied to the sum
}

// Conv2DGrad is the attribute struct of "conv2d_dx" (dy, w → dx) and "conv2d_dw" (x, dy → dw): the
// convolution differentiated and the shape of the result, which dy alone does not determine.
type Conv2DGrad struct {
	Conv  Conv2D // Bias and Act are ignored: dy is the cotangent of the bare sum
	Shape [4]int
}

// Norm returns a with the defaults written out.
func (a Conv2D) Norm() Conv2D {
	for i := range a.Stride {
		a.Stride[i] = max(a.Stride[i], 1)
		a.Dilation[i] = max(a.Dilation[i], 1)
	}
	a.Groups = max(a.Groups, 1)
	return a
}

// convOut returns the output size along one axis, ⌊(in + pads − extent)/stride⌋ + 1 with
// extent = (k−1)·dilation + 1.
func convOut(axis string, in, k, stride, dilation, before, after int) (int, error) {
	room := in + before + after - (k-1)*dilation - 1
	if k < 1 || stride < 1 || dilation < 1 || before < 0 || after < 0 {
		return 0, fmt.Errorf("%s: kernel %d, stride %d, dilation %d, padding (%d,%d): expected sizes ≥ 1 and padding ≥ 0", axis, k, stride, dilation, before, after)
	}
	if room < 0 {
		return 0, fmt.Errorf("%s: input %d with padding (%d,%d) is smaller than the window of %d: pad more or use a smaller kernel",
			axis, in, before, after, (k-1)*dilation+1)
	}
	return room/stride + 1, nil
}

// OutShape returns the shape of y for x (N,C,H,W) and w (O,C/Groups,KH,KW).
func (a Conv2D) OutShape(x, w []int) ([4]int, error) {
	a = a.Norm()
	var y [4]int
	if len(x) != 4 || len(w) != 4 {
		return y, fmt.Errorf("input %v and weight %v: expected (N,C,H,W) and (O,C/groups,KH,KW)", x, w)
	}
	if x[1] != w[1]*a.Groups || w[0]%a.Groups != 0 {
		return y, fmt.Errorf("input %v and weight %v in %d groups: expected %d input channels and a multiple of %d filters",
			x, w, a.Groups, w[1]*a.Groups, a.Groups)
	}
	oh, err := convOut("height", x[2], w[2], a.Stride[0], a.Dilation[0], a.Pad[0], a.Pad[2])
	if err != nil {
		return y, err
	}
	ow, err := convOut("width", x[3], w[3], a.Stride[1], a.Dilation[1], a.Pad[1], a.Pad[3])
	return [4]int{x[0], w[0], oh, ow}, err
}

func conv2dInfer(n *Node) ([]Type, error) {
	a := attrs[Conv2D](n)
	dt, err := sameFloat(n)
	if err != nil {
		return nil, err
	}
	y, err := a.OutShape(n.In[0].Shape, n.In[1].Shape)
	if err != nil {
		return nil, err
	}
	if a.Bias != (len(n.In) == 3) {
		return nil, fmt.Errorf("%d inputs with Bias %v: expected 3 exactly when there is a bias", len(n.In), a.Bias)
	}
	if a.Bias && !n.In[2].Shape.Equal([]int{y[1]}) {
		return nil, fmt.Errorf("bias %v, expected (%d)", n.In[2].Shape, y[1])
	}
	if a.Act != "" && a.Act != "relu" {
		return nil, fmt.Errorf("activation %q, expected \"\" or \"relu\"", a.Act)
	}
	return []Type{{dt, y[:]}}, nil
}

func conv2dVJP(g *Graph, n *Node, dy []*Value) []*Value {
	a, d := attrs[Conv2D](n), dy[0]
	x, w := n.In[0], n.In[1]
	if a.Act == "relu" { // y > 0 exactly where the sum is
		d = g.Apply("relu_grad", nil, n.Out[0], d)
	}
	bare := a
	bare.Bias, bare.Act = false, ""
	out := []*Value{
		g.Apply("conv2d_dx", Conv2DGrad{bare, [4]int(x.Shape)}, d, w),
		g.Apply("conv2d_dw", Conv2DGrad{bare, [4]int(w.Shape)}, x, d),
	}
	if a.Bias {
		out = append(out, g.Apply("conv2d_db", nil, d))
	}
	return out
}

// convGradInfer checks the two inputs of a gradient against the forward shapes; xw gives x's and w's.
func convGradInfer(n *Node, xw func(a Conv2DGrad) (x, w []int), dy []int) ([]Type, error) {
	a := attrs[Conv2DGrad](n)
	dt, err := sameFloat(n)
	if err != nil {
		return nil, err
	}
	x, w := xw(a)
	y, err := a.Conv.OutShape(x, w)
	if err != nil {
		return nil, err
	}
	if len(dy) != 4 || [4]int(dy) != y {
		return nil, fmt.Errorf("cotangent %v, expected %v for input %v and weight %v", dy, y, x, w)
	}
	return []Type{{dt, a.Shape[:]}}, nil
}

func convDxInfer(n *Node) ([]Type, error) {
	return convGradInfer(n, func(a Conv2DGrad) (x, w []int) { return a.Shape[:], n.In[1].Shape }, n.In[0].Shape)
}

func convDwInfer(n *Node) ([]Type, error) {
	return convGradInfer(n, func(a Conv2DGrad) (x, w []int) { return n.In[0].Shape, a.Shape[:] }, n.In[1].Shape)
}

func convDbInfer(n *Node) ([]Type, error) {
	s := n.In[0].Shape
	if len(s) != 4 || !n.In[0].DType.IsFloat() {
		return nil, fmt.Errorf("input %v, expected floats (N,C,H,W)", n.In[0].Type)
	}
	return []Type{{n.In[0].DType, s[1:2:2]}}, nil
}

// dx is linear in dy and in w: its derivative by dy is the convolution itself.
func convDxVJP(g *Graph, n *Node, dy []*Value) []*Value {
	a, c := attrs[Conv2DGrad](n), dy[0]
	return []*Value{
		g.Apply("conv2d", a.Conv, c, n.In[1]),
		g.Apply("conv2d_dw", Conv2DGrad{a.Conv, [4]int(n.In[1].Shape)}, c, n.In[0]),
	}
}

// dw is linear in x and in dy.
func convDwVJP(g *Graph, n *Node, dy []*Value) []*Value {
	a, c := attrs[Conv2DGrad](n), dy[0]
	return []*Value{
		g.Apply("conv2d_dx", Conv2DGrad{a.Conv, [4]int(n.In[0].Shape)}, n.In[1], c),
		g.Apply("conv2d", a.Conv, n.In[0], c),
	}
}

// convFLOPs counts 2 operations per tap: elements of y × taps per element.
func convFLOPs(y, w []int) int64 { return 2 * int64(y[0]*y[1]*y[2]*y[3]) * int64(w[1]*w[2]*w[3]) }

// Conv2D convolves x (N,C,H,W) with w (O,C/groups,KH,KW); bias (O) may be nil. a.Bias follows bias.
func (g *Graph) Conv2D(x, w, bias *Value, a Conv2D) *Value {
	a.Bias = bias != nil
	if a.Bias {
		return g.Apply("conv2d", a, x, w, bias)
	}
	return g.Apply("conv2d", a, x, w)
}

func init() {
	register(
		Op{Name: "conv2d", MinIn: 2, MaxIn: 3, Infer: conv2dInfer, VJP: conv2dVJP,
			FLOPs:   func(n *Node) int64 { return convFLOPs(n.Out[0].Shape, n.In[1].Shape) },
			Samples: convSamples()},
		Op{Name: "conv2d_dx", MinIn: 2, Infer: convDxInfer, VJP: convDxVJP,
			FLOPs:   func(n *Node) int64 { return convFLOPs(n.In[0].Shape, n.In[1].Shape) },
			Samples: convGradSamples(func(x, w, y [4]int) ([4]int, SampleIn, SampleIn) { return x, In(y[:]...), In(w[:]...) })},
		Op{Name: "conv2d_dw", MinIn: 2, Infer: convDwInfer, VJP: convDwVJP,
			FLOPs:   func(n *Node) int64 { return convFLOPs(n.In[1].Shape, n.Out[0].Shape) },
			Samples: convGradSamples(func(x, w, y [4]int) ([4]int, SampleIn, SampleIn) { return w, In(x[:]...), In(y[:]...) })},
		// conv2d_db: dy (N,O,H,W) → (O), the sum over images and pixels: the cotangent of conv2d's bias.
		Op{Name: "conv2d_db", MinIn: 1, Infer: convDbInfer,
			VJP: func(g *Graph, n *Node, dy []*Value) []*Value {
				s := n.In[0].Shape
				one := g.Apply("reshape", Reshape{Shape: []int{1, s[1], 1, 1}}, dy[0])
				return []*Value{g.Apply("broadcast", Broadcast{Shape: s}, one)}
			},
			FLOPs:   func(n *Node) int64 { return int64(n.In[0].Shape.Size()) },
			Samples: []Sample{{Name: "tail", In: []SampleIn{In(3, 5, 7, 3)}}, {Name: "wide", In: []SampleIn{In(17, 3, 5, 13)}}}},
	)
}
