//go:build cuda

package kernels

import (
	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

// groupThreads is GROUP_THREADS of groupnorm.cu.
const groupThreads = 256

func init() {
	registerDevice("groupnorm", deviceGroupNorm)
	registerDevice("groupnorm_grad", deviceGroupNormGrad)
}

func deviceGroupNorm(c *DeviceCall) error {
	x, a := c.In[0], c.Attrs.(graph.GroupNorm)
	s, ok := normSuffix(x, c.In[1])
	if !ok || c.In[2].DType != c.In[1].DType {
		return c.Uncovered()
	}
	n, ch, plane := nchw(x.Shape)
	if x.Shape.Size() == 0 {
		return nil
	}
	return c.Launch("groupnorm"+s, Grid(n*a.Groups), Block(groupThreads), 0, x, c.In[1], c.In[2], c.Out[0], c.Out[1], c.Out[2],
		int64(ch/a.Groups*plane), int32(plane), int32(ch), float32(a.Eps))
}

// deviceGroupNormGrad sums the parameters' gradients first: dx may take the memory of dy or x.
func deviceGroupNormGrad(c *DeviceCall) error {
	dy, x, gain, mean, rstd, a := c.In[0], c.In[1], c.In[2], c.In[3], c.In[4], c.Attrs.(graph.GroupNorm)
	s, ok := normSuffix(x, gain)
	if !ok || dy.DType != x.DType || mean.DType != tensor.F32 || rstd.DType != tensor.F32 {
		return c.Uncovered()
	}
	sx, _ := suffix(x.DType)
	n, ch, plane := nchw(x.Shape)
	partial := c.Scratch(max(4, int64(n)*2*int64(ch)*4))
	if x.Shape.Size() > 0 {
		if err := c.Launch("groupnorm_dparams"+sx, Grid(n*ch), Block(groupThreads), 0,
			dy, x, mean, rstd, partial, int32(plane), int32(ch), int32(ch/a.Groups)); err != nil {
			return err
		}
		if err := c.Launch("groupnorm_dx"+s, Grid(n*a.Groups), Block(groupThreads), 0, dy, x, gain, mean, rstd, c.Out[0],
			int64(ch/a.Groups*plane), int32(plane), int32(ch)); err != nil {
			return err
		}
	}
	return joinColumns(c, partial, c.Out[1], c.Out[2].Ptr, ch, n, 2, 1)
}
