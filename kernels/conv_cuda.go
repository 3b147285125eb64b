//go:build cuda

package kernels

import (
	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

const directThreads = 256 // DIRECT_THREADS

// convDevice is ConvShape of conv.cuh.
type convDevice struct {
	Images, Groups, CG, OG, H, W, OH, OW, KH, KW      int32
	StrideH, StrideW, DilationH, DilationW, Top, Left int32
}

// convArgs is ConvArgs of conv.cu.
type convArgs struct {
	A, B, Bias, Y, Partial, Taps uint64
	C                            convDevice
	M, N, K, Splits, Stretch     int32
	PackedA, PackedY, Relu       int32
}

func init() {
	registerDevice("conv2d", deviceConv)
	registerDevice("conv2d_dx", deviceConvDx)
	registerDevice("conv2d_dw", deviceConvDw)
	registerDevice("conv2d_db", deviceConvDb)
}

// newConvDevice reads the geometry of x, w and y.
func newConvDevice(a graph.Conv2D, x, w, y tensor.Shape) convDevice {
	a = a.Norm()
	return convDevice{
		Images: int32(x[0]), Groups: int32(a.Groups), CG: int32(w[1]), OG: int32(w[0] / a.Groups), H: int32(x[2]), W: int32(x[3]),
		OH: int32(y[2]), OW: int32(y[3]), KH: int32(w[2]), KW: int32(w[3]), StrideH: int32(a.Stride[0]), StrideW: int32(a.Stride[1]),
		DilationH: int32(a.Dilation[0]), DilationW: int32(a.Dilation[1]), Top: int32(a.Pad[0]), Left: int32(a.Pad[1]),
	}
}

// depthwise says that a group has one input channel and few filters: no product worth a tile.
func (s convDevice) depthwise() bool { return s.Groups > 1 && s.CG == 1 && s.OG <= 8 }

// pointwise says that every pixel is by itself: y[n] = w·x[n].
func (s convDevice) pointwise() bool {
	return s.Groups == 1 && s.KH*s.KW*s.StrideH*s.StrideW == 1 && s.OH == s.H && s.OW == s.W && s.Top+s.Left == 0
}

func deviceConv(c *DeviceCall) error {
	a, x, w, y := c.Attrs.(graph.Conv2D), c.In[0], c.In[1], c.Out[0]
	s, ok := suffix(x.DType)
	if !ok {
		return c.Uncovered()
	}
	shape, bias, relu := newConvDevice(a, x.Shape, w.Shape, y.Shape), Null, truth32(a.Act == "relu")
	if a.Bias {
		bias = c.In[2].Ptr
	}
	if y.Shape.Size() == 0 {
		return nil
	}
	if shape.depthwise() {
		return c.Launch("depthwise"+s, c.Strided(int64(y.Shape.Size()), directThreads), Block(directThreads), 0, shape, x, w, bias, y, relu)
	}
	if shape.pointwise() {
		p := pointwise(x.DType, w, x, y, shape.OG, shape.H*shape.W, shape.CG, shape.Images)
		p.args.End.Bias, p.args.End.BiasRows, p.args.End.Act = bias, 1, relu
		return p.run(c)
	}
	p := convArgs{A: w.Ptr, B: x.Ptr, Bias: bias, Y: y.Ptr, C: shape, Relu: relu,
		M: shape.OG, N: shape.Images * shape.OH * shape.OW, K: shape.CG * shape.KH * shape.KW}
	return p.launch(c, "conv", x.DType, int(p.K), int(shape.OH*shape.OW))
}

func deviceConvDx(c *DeviceCall) error {
	dy, w, dx := c.In[0], c.In[1], c.Out[0]
	s, ok := suffix(dy.DType)
	if !ok {
		return c.Uncovered()
	}
	if dx.Shape.Size() == 0 {
		return nil
	}
	shape := newConvDevice(c.Attrs.(graph.Conv2DGrad).Conv, dx.Shape, w.Shape, dy.Shape)
	if shape.depthwise() {
		return c.Launch("depthwise_dx"+s, c.Strided(int64(dx.Shape.Size()), directThreads), Block(directThreads), 0, shape, dy, w, dx)
	}
	if shape.pointwise() {
		p := pointwise(dy.DType, w, dy, dx, shape.CG, shape.H*shape.W, shape.OG, shape.Images)
		p.transA = true
		return p.run(c)
	}
	flipped := c.Scratch(int64(w.Bytes()))
	err := c.Launch("conv_flip"+s, c.Strided(int64(w.Shape.Size()), directThreads), Block(directThreads), 0,
		w, flipped, int64(w.Shape.Size()), shape.OG, shape.CG, shape.KH*shape.KW)
	if err != nil {
		return err
	}
	p := convArgs{A: flipped, B: dy.Ptr, Y: dx.Ptr, C: shape, M: shape.CG, N: shape.Images * shape.H * shape.W, K: shape.OG * shape.KH * shape.KW}
	return p.launch(c, "conv_dx", dy.DType, int(p.K), int(shape.H*shape.W))
}

func deviceConvDw(c *DeviceCall) error {
	x, dy, dw := c.In[0], c.In[1], c.Out[0]
	s, ok := suffix(dy.DType)
	if !ok {
		return c.Uncovered()
	}
	if dw.Shape.Size() == 0 {
		return nil
	}
	shape := newConvDevice(c.Attrs.(graph.Conv2DGrad).Conv, x.Shape, dw.Shape, dy.Shape)
	if shape.depthwise() {
		return c.Launch("depthwise_dw"+s, Grid(int(shape.KH*shape.KW), int(shape.Groups*shape.OG)), Block(directThreads), 0, shape, x, dy, dw)
	}
	p := convArgs{A: dy.Ptr, B: x.Ptr, Y: dw.Ptr, C: shape, M: shape.OG, N: shape.CG * shape.KH * shape.KW, K: shape.Images * shape.OH * shape.OW}
	return p.launch(c, "conv_dw", dy.DType, int(p.N), int(p.N))
}

// pointwise is y[n] (m,pixels) = w (m,k)·x[n] (k,pixels) over the images.
func pointwise(t tensor.DType, w, x, y DeviceView, m, pixels, k, images int32) deviceProduct {
	batch := broadcastArgs{N: int64(images), Axes: 1, Dims: [broadcastAxes]int32{images}}
	batch.Strides[1][0] = int64(k) * int64(pixels)
	return deviceProduct{dtype: t, out: t, args: matmulArgs{A: w.Ptr, B: x.Ptr, M: m, N: pixels, K: k, Batch: batch,
		End: epilogueArgs{Y: y.Ptr, Alpha: 1}}}
}

// launch adds the kernel of a product over gathered windows: tiles of 64 or 128 rows; `taps` elements of the table of taps; rows
// of y of `line` elements. Only dw's sums, over all pixels, are long enough to cut.
func (p *convArgs) launch(c *DeviceCall, kernel string, t tensor.DType, taps, line int) error {
	filled := ceilDiv(taps, gemmTile) * gemmTile
	p.Taps = c.Scratch(int64(filled) * 16)
	err := c.Launch("conv_taps", c.Strided(int64(filled), directThreads), Block(directThreads), 0, p.Taps, int32(taps), int32(filled), truth32(kernel == "conv_dx"), p.C)
	if err != nil {
		return err
	}
	name, rows, shared, width := kernel+"_f32", gemmTile, 0, 4
	if t == tensor.BF16 || c.Precision == tensor.BF16 {
		name, shared, width = kernel+"_round", mmaShared, 8
		if t == tensor.BF16 {
			name = kernel + "_bf16"
		}
		if p.M <= 64 {
			name, rows, shared = name+"_64", 64, mmaShared/2 // 64×128 sums; two stages are less
		} else {
			name += "_128"
		}
	}
	p.PackedA, p.PackedY = packs(int(p.K), 16/t.Size()), packs(line, width)
	tiles := Grid(ceilDiv(int(p.N), gemmTile), ceilDiv(int(p.M), rows), int(p.C.Groups))
	p.Splits, p.Stretch = 1, p.K
	if kernel == "conv_dw" {
		splits, stretch := splitK(int(tiles.X*tiles.Y*tiles.Z), int(p.K))
		p.Splits, p.Stretch = int32(splits), int32(stretch)
	}
	if int(p.C.Groups*p.Splits) > maxGridZ {
		return c.Uncovered()
	}
	tiles.Z *= uint32(p.Splits)
	if p.Splits > 1 {
		p.Partial = c.Scratch(int64(tiles.Z) * int64(p.M) * int64(p.N) * 4)
	}
	if err := c.Launch(name, tiles, Block(gemmThreads), shared, *p); err != nil || p.Splits == 1 {
		return err
	}
	s, _ := suffix(t)
	sum := matmulArgs{Partial: p.Partial, M: p.M, N: p.N, Splits: p.Splits, End: epilogueArgs{Y: p.Y, Alpha: 1},
		Batch: broadcastArgs{N: int64(p.C.Groups)}}
	return c.Launch("matmul_sum"+s, c.Strided(int64(p.C.Groups)*int64(p.M)*int64(p.N), endThread), Block(endThread), 0, sum)
}

// deviceConvDb sums over stretches of images, then the stretches in order.
func deviceConvDb(c *DeviceCall) error {
	dy, db := c.In[0], c.Out[0]
	s, ok := suffix(dy.DType)
	if !ok {
		return c.Uncovered()
	}
	images, channels, plane := nchw(dy.Shape)
	if channels == 0 {
		return nil
	}
	stretches, stretch := imageStretches(images, plane)
	partial := c.Scratch(int64(max(stretches, 1)) * int64(channels) * 4)
	if dy.Shape.Size() > 0 {
		err := c.Launch("channel_sums"+s, Grid(channels, stretches), Block(directThreads), 0,
			dy, partial, int32(images), int32(channels), int64(plane), int32(stretch), packs(plane, 16/dy.DType.Size()))
		if err != nil {
			return err
		}
	}
	return c.Launch("channel_sums_join"+s, Grid(ceilDiv(channels, directThreads)), Block(directThreads), 0,
		partial, db, int32(channels), int32(stretches))
}
