//go:build cuda

package kernels

import (
	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

// normThreads is NORM_THREADS of layernorm.cu and RMS_THREADS of rmsnorm.cu.
const normThreads = 256

func init() {
	registerDevice("layernorm", func(c *DeviceCall) error {
		return deviceLayerNorm(c, Null, c.In[1], c.In[2], Null, c.Out[0], c.Out[1], c.Out[2])
	})
	registerDevice("add_layernorm", func(c *DeviceCall) error {
		return deviceLayerNorm(c, c.In[1].Ptr, c.In[2], c.In[3], c.Out[0].Ptr, c.Out[1], c.Out[2], c.Out[3])
	})
	registerDevice("layernorm_grad", deviceLayerNormGrad)
}

// normShape returns the rows and columns of x (…,C).
func normShape(x DeviceView) (rows, cols int) {
	cols = x.Shape[len(x.Shape)-1]
	return x.Shape.Size() / cols, cols
}

// normSuffix names the kernel for activations x and parameters p: _f32_f32, _bf16_f32 or _bf16_bf16.
func normSuffix(x, p DeviceView) (string, bool) {
	sx, okX := suffix(x.DType)
	sp, okP := suffix(p.DType)
	return sx + sp, okX && okP && sx+sp != "_f32_bf16"
}

func deviceLayerNorm(c *DeviceCall, res uint64, gain, bias DeviceView, sum uint64, y, mean, rstd DeviceView) error {
	x := c.In[0]
	s, ok := normSuffix(x, gain)
	if !ok || bias.DType != gain.DType {
		return c.Uncovered()
	}
	rows, cols := normShape(x)
	if rows == 0 {
		return nil
	}
	eps := float32(c.Attrs.(graph.Norm).Eps)
	block, packed := normBlock(x, cols)
	return c.Launch("layernorm"+s, Grid(rows), block, 0, x, res, gain, bias, sum, y, mean, rstd, int32(cols), eps, packed)
}

// normBlock is the block that normalises a row of cols elements, no larger than the row, and whether rows are whole packs.
func normBlock(x DeviceView, cols int) (Dim3, int32) {
	width := 16 / x.DType.Size()
	packed := packs(cols, width)
	if packed == 0 {
		width = 1
	}
	const warp = 32
	return Block(min(normThreads, ceilDiv(ceilDiv(cols, width), warp)*warp)), packed
}

// gradStretches is how many blocks share the rows of layernorm_grad: enough to fill a GPU, few to add up.
const gradStretches = 1024

// deviceLayerNormGrad goes over rows once where a block holds one at a pack per thread. Else it sums the parameters' gradients first:
// dx may take the memory of dy or x.
func deviceLayerNormGrad(c *DeviceCall) error {
	dy, x, gain, mean, rstd, dres := c.In[0], c.In[1], c.In[2], c.In[3], c.In[4], Null
	if len(c.In) == 6 {
		dres = c.In[5].Ptr
	}
	s, ok := normSuffix(x, gain)
	if !ok || dy.DType != x.DType || mean.DType != tensor.F32 || rstd.DType != tensor.F32 {
		return c.Uncovered()
	}
	sx, _ := suffix(x.DType)
	rows, cols := normShape(x)
	block, packed := normBlock(x, cols)
	if packed == 1 && int(block.X)*16/x.DType.Size() >= cols && rows > 0 {
		stretch := max(4, ceilDiv(rows, gradStretches))
		stretches := ceilDiv(rows, stretch)
		partial := c.Scratch(int64(stretches) * 2 * int64(cols) * 4)
		err := c.Launch("layernorm_grad"+s, Grid(stretches), block, 0, dy, x, gain, mean, rstd, dres, c.Out[0], partial, int32(rows), int32(cols), int32(stretch))
		if err != nil {
			return err
		}
		return joinColumns(c, partial, c.Out[1], c.Out[2].Ptr, cols, stretches, 2, 1)
	}
	stretches, stretch := columnStretches(rows)
	partial := c.Scratch(int64(stretches) * 2 * int64(cols) * 4)
	if rows > 0 {
		grid, packed := columnGrid(x, cols, stretches)
		err := c.Launch("layernorm_dparams"+sx, grid, Block(columnThreads), 0,
			dy, x, mean, rstd, partial, int32(rows), int32(cols), int32(stretch), packed)
		if err != nil {
			return err
		}
		if err = c.Launch("layernorm_dx"+s, Grid(rows), block, 0, dy, x, gain, mean, rstd, dres, c.Out[0], int32(cols), packed); err != nil {
			return err
		}
	}
	return joinColumns(c, partial, c.Out[1], c.Out[2].Ptr, cols, stretches, 2, 1)
}
