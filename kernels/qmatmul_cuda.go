//go:build cuda

package kernels

import (
	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

// QTHREADS of qconv_direct.cu; QTHREADS and QTILE of qproduct.cu.
const (
	qThreads        = 256
	qProductThreads = 128
	qTile           = 64
	// qNarrow is how few output channels of a group are better computed one by one: a tile would be mostly empty.
	qNarrow = 8
)

// quantActs numbers activations as QuantAct of requant.cuh.
var quantActs = map[string]int32{"": 0, "relu": 1, "silu": 2, "gelu": 3, "gelu_tanh": 4}

// requantArgs is Requant, qconvArgs QConv of requant.cuh, qproductArgs QProduct of qproduct.cu.
type (
	requantArgs struct {
		XS, WS, YS, YZ, Bias, Residual                            uint64
		XSType, WSType, YSType, Out, BiasType, Act, InFloat, Many int32
	}
	qconvArgs struct {
		N                                                                   int64
		C, H, W, O, OH, OW, KH, KW, SH, SW, DH, DW, Top, Left, Groups, NHWC int32
	}
	qproductArgs struct {
		X, W, XZ, WZ, Y         uint64
		XT, WT, WZMany, M, N, K int32
		PackedX, PackedW        int32
	}
)

func init() {
	registerDevice("qmatmul", deviceQMatMul)
	registerDevice("qconv2d", deviceQConv)
	registerDevice("qmaxpool2d", deviceQMaxPool)
}

// many is 1 where v has one number per column.
func many(v DeviceView) int32 {
	if v.Shape.Size() > 1 {
		return 1
	}
	return 0
}

// requantOf gathers what becomes of the sums; false for types without a kernel.
func requantOf(a graph.Requant, in []DeviceView) (p requantArgs, ok bool) {
	act, ok := quantActs[a.Act]
	p = requantArgs{XS: in[1].Ptr, WS: in[4].Ptr, XSType: quantTypes[in[1].DType], WSType: quantTypes[in[4].DType],
		Out: quantTypes[a.Out], Act: act, Many: many(in[4])}
	ok = ok && realTypes(in[1], in[4])
	ys, yz, bias, residual := graph.Tail(a, in)
	biasType := tensor.Invalid
	if ys != nil {
		p.YS, p.YZ, p.YSType = ys.Ptr, yz.Ptr, quantTypes[ys.DType]
		ok = ok && realTypes(*ys)
	}
	if bias != nil {
		biasType = bias.DType
		p.Bias, p.BiasType = bias.Ptr, quantTypes[bias.DType]
	}
	if residual != nil {
		p.Residual = residual.Ptr
	}
	if a.InFloat(biasType) {
		p.InFloat = 1
	}
	return p, ok
}

func deviceQMatMul(c *DeviceCall) error {
	a := c.Attrs.(graph.QMatMul)
	s, _, err := graph.MatMul{TransB: a.TransB}.Sizes(c.In[0].Shape, c.In[3].Shape)
	if err != nil {
		return err
	}
	p, ok := requantOf(a.Requant, c.In)
	if !ok || ceilDiv(s.N, qTile) > maxGridZ {
		return c.Uncovered()
	}
	if s.M*s.N == 0 {
		return nil
	}
	kernel := "qmatmul"
	if !a.TransB {
		kernel = "qmatmul_down"
	}
	g := qproductOf(c, s.M, s.N, s.K)
	return c.Launch(kernel, Grid(ceilDiv(s.M, qTile), ceilDiv(s.N, qTile)), Block(qProductThreads), 0, g, p)
}

// qproductOf describes the product of inputs 0 and 3, (m,k) by (n,k), with their zero points.
func qproductOf(c *DeviceCall, m, n, k int) qproductArgs {
	x, w := c.In[0], c.In[3]
	packed := packs(k, 16)
	return qproductArgs{X: x.Ptr, W: w.Ptr, XZ: c.In[2].Ptr, WZ: c.In[5].Ptr, Y: c.Out[0].Ptr, XT: quantTypes[x.DType], WT: quantTypes[w.DType],
		WZMany: many(c.In[5]), M: int32(m), N: int32(n), K: int32(k), PackedX: packed, PackedW: packed}
}

func deviceQConv(c *DeviceCall) error {
	a, x, w, y := c.Attrs.(graph.QConv2D), c.In[0], c.In[3], c.Out[0]
	xs, ys, err := a.Shapes(x.Shape, w.Shape)
	if err != nil {
		return err
	}
	p, ok := requantOf(a.Requant, c.In)
	if !ok {
		return c.Uncovered()
	}
	v := a.Conv.Norm()
	q := qconvArgs{N: int64(y.Shape.Size()), C: int32(xs[1]), H: int32(xs[2]), W: int32(xs[3]), O: int32(ys[1]), OH: int32(ys[2]), OW: int32(ys[3]),
		KH: int32(w.Shape[2]), KW: int32(w.Shape[3]), SH: int32(v.Stride[0]), SW: int32(v.Stride[1]), DH: int32(v.Dilation[0]),
		DW: int32(v.Dilation[1]), Top: int32(v.Pad[0]), Left: int32(v.Pad[1]), Groups: int32(v.Groups)}
	if a.NHWC {
		q.NHWC = 1
	}
	if q.N == 0 {
		return nil
	}
	og, pixels := ys[1]/v.Groups, ys[0]*ys[2]*ys[3]
	if og >= qNarrow && pixels < 1<<31 && v.Groups <= maxGridZ && ceilDiv(og, qTile) <= maxGridZ {
		g := qproductOf(c, pixels, og, w.Shape[1]*w.Shape[2]*w.Shape[3])
		return c.Launch("qconv2d", Grid(ceilDiv(pixels, qTile), ceilDiv(og, qTile), v.Groups), Block(qProductThreads), 0, g, q, p)
	}
	return c.Launch("qconv2d_direct", c.Strided(q.N, qThreads), Block(qThreads), 0, x, quantTypes[x.DType], c.In[2],
		w, quantTypes[w.DType], c.In[5], many(c.In[5]), y, q, p)
}

func deviceQMaxPool(c *DeviceCall) error {
	a, x, y := c.Attrs.(graph.QPool2D), c.In[0], c.Out[0]
	s := [4]int(x.Shape)
	if a.NHWC {
		s = [4]int{s[0], s[3], s[1], s[2]}
	}
	o, err := a.Pool.OutShape(s[:])
	if err != nil {
		return err
	}
	v := a.Pool.Norm()
	q := qconvArgs{N: int64(y.Shape.Size()), C: int32(s[1]), H: int32(s[2]), W: int32(s[3]), O: int32(s[1]), OH: int32(o[2]), OW: int32(o[3]),
		KH: int32(v.Kernel[0]), KW: int32(v.Kernel[1]), SH: int32(v.Stride[0]), SW: int32(v.Stride[1]), DH: int32(v.Dilation[0]),
		DW: int32(v.Dilation[1]), Top: int32(v.Pad[0]), Left: int32(v.Pad[1]), Groups: 1}
	if a.NHWC {
		q.NHWC = 1
	}
	if q.N == 0 {
		return nil
	}
	return c.Launch("qmaxpool2d", c.Strided(q.N, qThreads), Block(qThreads), 0, x, quantTypes[x.DType], y, q)
}
