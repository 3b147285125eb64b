//go:build cuda

package kernels

import (
	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

func init() {
	registerDevice("rmsnorm", func(c *DeviceCall) error {
		return deviceRMSNorm(c, Null, c.In[1], Null, c.Out[0], c.Out[1])
	})
	registerDevice("add_rmsnorm", func(c *DeviceCall) error {
		return deviceRMSNorm(c, c.In[1].Ptr, c.In[2], c.Out[0].Ptr, c.Out[1], c.Out[2])
	})
	registerDevice("rmsnorm_grad", deviceRMSNormGrad)
}

func deviceRMSNorm(c *DeviceCall, res uint64, gain DeviceView, sum uint64, y, rstd DeviceView) error {
	x := c.In[0]
	s, ok := normSuffix(x, gain)
	if !ok {
		return c.Uncovered()
	}
	rows, cols := normShape(x)
	if rows == 0 {
		return nil
	}
	eps := float32(c.Attrs.(graph.Norm).Eps)
	block, packed := normBlock(x, cols)
	return c.Launch("rmsnorm"+s, Grid(rows), block, 0, x, res, gain, sum, y, rstd, int32(cols), eps, packed)
}

// deviceRMSNormGrad sums the gain's gradient first: dx may take the memory of dy or x.
func deviceRMSNormGrad(c *DeviceCall) error {
	dy, x, gain, rstd, dres := c.In[0], c.In[1], c.In[2], c.In[3], Null
	if len(c.In) == 5 {
		dres = c.In[4].Ptr
	}
	s, ok := normSuffix(x, gain)
	if !ok || dy.DType != x.DType || rstd.DType != tensor.F32 {
		return c.Uncovered()
	}
	sx, _ := suffix(x.DType)
	rows, cols := normShape(x)
	stretches, stretch := columnStretches(rows)
	partial := c.Scratch(max(4, int64(stretches)*int64(cols)*4))
	if rows > 0 {
		grid, packed := columnGrid(x, cols, stretches)
		err := c.Launch("rmsnorm_dparams"+sx, grid, Block(columnThreads), 0,
			dy, x, rstd, partial, int32(rows), int32(cols), int32(stretch), packed)
		if err != nil {
			return err
		}
		block, packed := normBlock(x, cols)
		if err = c.Launch("rmsnorm_dx"+s, Grid(rows), block, 0, dy, x, gain, rstd, dres, c.Out[0], int32(cols), packed); err != nil {
			return err
		}
	}
	return joinColumns(c, partial, c.Out[1], Null, cols, stretches, 1, 1)
}
