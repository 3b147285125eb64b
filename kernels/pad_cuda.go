//go:build cuda

package kernels

import (
	"math"
	"slices"

	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

// padAxes is PAD_AXES, padThreads PAD_THREADS of pad.cu.
const (
	padAxes    = 8
	padThreads = 256
)

// padModes numbers the modes as PadMode of pad.cu.
var padModes = map[string]int32{"": 0, "constant": 0, "edge": 1, "reflect": 2, "wrap": 3}

// padArgs is Padding of pad.cu.
type padArgs struct {
	N                 int64
	Axes, Mode        int32
	X, Padded, Before [padAxes]int32
	Strides           [padAxes]int64
}

func init() {
	registerDevice("pad", func(c *DeviceCall) error {
		a, x, y := c.Attrs.(graph.Pad), c.In[0], c.Out[0]
		p, ok := paddingOf(a, x.Shape, y.Shape, y.Shape, x.Shape)
		if !ok {
			return c.Uncovered()
		}
		if p.N == 0 {
			return nil
		}
		if x.Shape.Size() == 0 { // nothing but border
			return deviceFill(c, y, a.Value)
		}
		if before, ok := paddedRows(a, x); ok && pattern(x.DType, a.Value) == 0 {
			c.Queue.Fill(y.Ptr, 0, before)
			c.Queue.Copy(y.Ptr+uint64(before), x.Ptr, int64(x.Bytes()))
			end := before + int64(x.Bytes())
			c.Queue.Fill(y.Ptr+uint64(end), 0, int64(y.Bytes())-end)
			return nil
		}
		return c.Launch(wordKernel("pad", x.DType.Size()), c.Strided(p.N, padThreads), Block(padThreads), 0, x, y, p, pattern(x.DType, a.Value))
	})
	registerDevice("pad_grad", func(c *DeviceCall) error {
		a, dy, dx := c.Attrs.(graph.PadGrad), c.In[0], c.Out[0]
		s, ok := suffix(dy.DType)
		p, fits := paddingOf(a.Pad, dx.Shape, dy.Shape, dx.Shape, dy.Shape)
		if !ok || !fits {
			return c.Uncovered()
		}
		if p.N == 0 {
			return nil
		}
		if before, ok := paddedRows(a.Pad, dx); ok {
			c.Queue.Copy(dx.Ptr, dy.Ptr+uint64(before), int64(dx.Bytes()))
			return nil
		}
		return c.Launch("pad_grad"+s, c.Strided(p.N, padThreads), Block(padThreads), 0, dy, dx, p)
	})
}

// paddedRows reports whether x as a whole is a stretch of what a constant pads it to, and how many bytes come before it there.
func paddedRows(a graph.Pad, x DeviceView) (before int64, ok bool) {
	if a.Mode != "" && a.Mode != "constant" || len(x.Shape) == 0 || a.Before[0] < 0 || a.After[0] < 0 {
		return 0, false
	}
	for d := 1; d < len(x.Shape); d++ {
		if a.Before[d] != 0 || a.After[d] != 0 {
			return 0, false
		}
	}
	return int64(a.Before[0]) * int64(x.Bytes()) / int64(max(x.Shape[0], 1)), true
}

// paddingOf describes the padding of x; out is the tensor that is written, in the one that is read.
func paddingOf(a graph.Pad, x, padded, out, in tensor.Shape) (p padArgs, ok bool) {
	p = padArgs{N: int64(out.Size()), Axes: int32(len(x)), Mode: padModes[a.Mode]}
	if len(x) > padAxes || slices.Max(append([]int{0}, padded...)) > math.MaxInt32 {
		return p, false
	}
	for d, stride := range in.Strides() {
		p.X[d], p.Padded[d], p.Before[d], p.Strides[d] = int32(x[d]), int32(padded[d]), int32(a.Before[d]), int64(stride)
	}
	return p, true
}
