//go:build cuda

package kernels

import (
	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

// devicePoolThreads is POOL_THREADS of pool.cu.
const devicePoolThreads = 256

// poolArgs is Pool of pool.cu.
type poolArgs struct {
	Planes                                          int64
	H, W, OH, OW, KH, KW, SH, SW, DH, DW, Top, Left int32
	PaddedH, PaddedW, CountPad, Unused              int32
}

func init() {
	registerDevice("maxpool2d", func(c *DeviceCall) error {
		return devicePool(c, "maxpool", c.Attrs.(graph.Pool2D), c.In[0].Shape, c.Out[0].Shape, c.Out[0], c.In[0], c.Out[0], c.Out[1])
	})
	registerDevice("avgpool2d", func(c *DeviceCall) error {
		return devicePool(c, "avgpool", c.Attrs.(graph.Pool2D), c.In[0].Shape, c.Out[0].Shape, c.Out[0], c.In[0], c.Out[0])
	})
	registerDevice("avgpool2d_grad", func(c *DeviceCall) error {
		return devicePool(c, "avgpool_grad", c.Attrs.(graph.Pool2DGrad).Pool, c.Out[0].Shape, c.In[0].Shape, c.Out[0], c.In[0], c.Out[0])
	})
	registerDevice("maxpool2d_grad", deviceMaxPoolGrad)
}

func poolOf(a graph.Pool2D, x, y tensor.Shape) poolArgs {
	a = a.Norm()
	p := poolArgs{Planes: int64(x[0] * x[1]), H: int32(x[2]), W: int32(x[3]), OH: int32(y[2]), OW: int32(y[3]),
		KH: int32(a.Kernel[0]), KW: int32(a.Kernel[1]), SH: int32(a.Stride[0]), SW: int32(a.Stride[1]),
		DH: int32(a.Dilation[0]), DW: int32(a.Dilation[1]), Top: int32(a.Pad[0]), Left: int32(a.Pad[1]),
		PaddedH: int32(x[2] + a.Pad[2]), PaddedW: int32(x[3] + a.Pad[3])}
	if a.CountPad {
		p.CountPad = 1
	}
	return p
}

// devicePool launches a kernel with one thread per element of `to`.
func devicePool(c *DeviceCall, kernel string, a graph.Pool2D, x, y tensor.Shape, to DeviceView, views ...DeviceView) error {
	s, ok := suffix(c.In[0].DType)
	if !ok {
		return c.Uncovered()
	}
	n := int64(to.Shape.Size())
	if n == 0 {
		return nil
	}
	var args []any
	for _, v := range views {
		args = append(args, v)
	}
	return c.Launch(kernel+s, c.Strided(n, devicePoolThreads), Block(devicePoolThreads), 0, append(args, poolOf(a, x, y))...)
}

// deviceMaxPoolGrad adds in f32: in dx itself, or in scratch that is rounded in the end.
func deviceMaxPoolGrad(c *DeviceCall) error {
	dy, index, dx := c.In[0], c.In[1], c.Out[0]
	s, ok := suffix(dy.DType)
	if !ok {
		return c.Uncovered()
	}
	n, planes := int64(dx.Shape.Size()), dx.Shape[0]*dx.Shape[1]
	if n == 0 {
		return nil
	}
	sums := dx.Ptr
	if dx.DType != tensor.F32 {
		sums = c.Scratch(4 * n)
	}
	c.Queue.Fill(sums, 0, 4*n)
	err := c.Launch("maxpool_grad"+s, Grid(ceilDiv(planes*32, devicePoolThreads)), Block(devicePoolThreads), 0,
		dy, index, sums, int64(planes), int32(dy.Shape[2:].Size()), int32(dx.Shape[2:].Size()))
	if err != nil || dx.DType == tensor.F32 {
		return err
	}
	return deviceCast(c, tensor.F32, dx.DType, sums, dx.Ptr, n)
}
