//go:build cuda

package kernels

import (
	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

// quantThreads is QUANT_THREADS of quant.cu, rangeStretch how many elements a block looks at for the range.
const (
	quantThreads = 256
	rangeStretch = 16384
)

// quantTypes numbers element types as QuantType of quant.cuh.
var quantTypes = map[tensor.DType]int32{tensor.I8: 0, tensor.U8: 1, tensor.I32: 2, tensor.F32: 3, tensor.BF16: 4}

// scaleArgs is ScaleOf of quant.cuh.
type scaleArgs struct{ Inner, Size, Block, Scales, Single int64 }

// scaleOf mirrors graph.Quantize.ScaleIndex.
func scaleOf(a graph.Quantize, shape, scale tensor.Shape) scaleArgs {
	if scale.Size() == 1 {
		return scaleArgs{Inner: 1, Size: 1, Single: 1}
	}
	axis, err := shape.Axis(a.Axis)
	if err != nil {
		panic("kernels: " + err.Error()) // the row's Infer has checked it
	}
	return scaleArgs{Inner: int64(shape[axis+1:].Size()), Size: int64(shape[axis]), Block: int64(a.Block), Scales: int64(scale[axis*min(a.Block, 1)])}
}

// realTypes reports whether every view is f32 or bf16.
func realTypes(views ...DeviceView) bool {
	for _, v := range views {
		if _, ok := suffix(v.DType); !ok {
			return false
		}
	}
	return true
}

func init() {
	registerDevice("quantize_linear", func(c *DeviceCall) error {
		a, _ := c.Attrs.(graph.Quantize)
		x, scale, zero, y := c.In[0], c.In[1], c.In[2], c.Out[0]
		if !realTypes(x, scale) {
			return c.Uncovered()
		}
		return deviceQuant(c, "quantize_linear", x, quantTypes[x.DType], scale, quantTypes[scale.DType], zero, y, quantTypes[y.DType],
			int64(x.Shape.Size()), scaleOf(a, x.Shape, scale.Shape))
	})
	registerDevice("dequantize_linear", func(c *DeviceCall) error {
		a, _ := c.Attrs.(graph.Quantize)
		x, scale, zero, y := c.In[0], c.In[1], c.In[2], c.Out[0]
		if !realTypes(scale) {
			return c.Uncovered()
		}
		return deviceQuant(c, "dequantize_linear", x, quantTypes[x.DType], scale, quantTypes[scale.DType], zero, y,
			int64(x.Shape.Size()), scaleOf(a, x.Shape, scale.Shape))
	})
	registerDevice("fake_quantize", func(c *DeviceCall) error { return deviceFakeQuant(c, c.In[0], c.In[1], c.In[2], c.Out[0]) })
	registerDevice("fake_quantize_grad", func(c *DeviceCall) error {
		return deviceFakeQuant(c, c.In[0], c.In[1], c.In[2], c.In[3], c.Out[0])
	})
	registerDevice("dynamic_quantize", deviceDynamicQuant)
	registerDevice("qembedding", func(c *DeviceCall) error {
		table, scale, zero, ids, y := c.In[0], c.In[1], c.In[2], c.In[3], c.Out[0]
		if !realTypes(scale) {
			return c.Uncovered()
		}
		single := int32(0)
		if scale.Shape.Size() == 1 {
			single = 1
		}
		if y.Bytes() == 0 {
			return nil
		}
		n := int64(y.Shape.Size())
		return c.Launch("qembedding"+indexSuffix(ids.DType), c.Strided(n, quantThreads), Block(quantThreads), 0,
			table, quantTypes[table.DType], scale, quantTypes[scale.DType], zero, ids, y, n, int64(table.Shape[0]), int64(table.Shape[1]), single)
	})
}

// deviceQuant launches a kernel over the elements of input 0.
func deviceQuant(c *DeviceCall, kernel string, args ...any) error {
	n := int64(c.In[0].Shape.Size())
	if n == 0 {
		return nil
	}
	return c.Launch(kernel, c.Strided(n, quantThreads), Block(quantThreads), 0, args...)
}

func deviceFakeQuant(c *DeviceCall, views ...DeviceView) error {
	a, _ := c.Attrs.(graph.FakeQuantize)
	x := c.In[0]
	if !realTypes(x) {
		return c.Uncovered()
	}
	var args []any
	for _, v := range views {
		if v.DType != x.DType {
			return c.Uncovered()
		}
		args = append(args, v)
	}
	symmetric := int32(0)
	if a.Symmetric {
		symmetric = 1
	}
	return deviceQuant(c, c.Op, append(args, quantTypes[x.DType], symmetric, int64(x.Shape.Size()),
		scaleOf(graph.Quantize{Axis: a.Axis}, x.Shape, c.In[1].Shape))...)
}

// deviceDynamicQuant finds the range over stretches cut by shape, then rounds.
func deviceDynamicQuant(c *DeviceCall) error {
	x, y, scale, zero := c.In[0], c.Out[0], c.Out[1], c.Out[2]
	n := int64(x.Shape.Size())
	blocks := ceilDiv(n, rangeStretch)
	part := c.Scratch(max(8, 8*blocks))
	if n > 0 {
		if err := c.Launch("quant_range", Grid(int(blocks)), Block(quantThreads), 0, x, part, n, int64(rangeStretch)); err != nil {
			return err
		}
	}
	if err := c.Launch("quant_range_end", Grid(1), Block(quantThreads), 0, part, scale, zero, int32(blocks)); err != nil {
		return err
	}
	return deviceQuant(c, "dynamic_quantize", x, scale, zero, y, n)
}
