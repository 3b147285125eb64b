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
	return c.Launch("rmsnorm"+s, Grid(rows), Block(normThreads), 0, x, res, gain, sum, y, rstd, int32(cols), eps)
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
	sp, _ := suffix(gain.DType)
	rows, cols := normShape(x)
	stretches, stretch := normStretches(rows)
	partial := c.Scratch(max(4, int64(stretches)*int64(cols)*4))
	if rows > 0 {
		err := c.Launch("rmsnorm_dparams"+sx, Grid(ceilDiv(cols, normCols), stretches), Block(normThreads), 0,
			dy, x, rstd, partial, int32(rows), int32(cols), int32(stretch))
		if err != nil {
			return err
		}
		if err = c.Launch("rmsnorm_dx"+s, Grid(rows), Block(normThreads), 0, dy, x, gain, rstd, dres, c.Out[0], int32(cols)); err != nil {
			return err
		}
	}
	return c.Launch("norm_dparams_sum"+sp, Grid(ceilDiv(cols, normThreads)), Block(normThreads), 0,
		partial, c.Out[1], Null, int32(cols), int32(stretches), int32(1))
}
