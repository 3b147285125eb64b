//go:build cuda

package kernels

import (
	"slices"

	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

// scatterModes numbers the modes as ScatterMode of scatter.cu.
var scatterModes = map[string]int32{"": 0, "add": 0, "set": 1, "mul": 2, "max": 3, "min": 4}

func init() { registerDevice("scatter_add", deviceScatter) }

// scatterNest walks the lines of ids along axis, beside the lines of y.
func scatterNest(ids, y tensor.Shape, axis int) (p moveArgs, ok bool) {
	dims := slices.Clone([]int(ids))
	dims[axis] = 1
	n := nest{dims, [][]int{ids.Strides(), y.Strides()}}.collapse()
	p = moveArgs{N: int64(n.size()), Axes: int32(len(n.dims))}
	if !walkable(n) {
		return p, false
	}
	for d, size := range n.dims {
		p.Dims[d] = int32(size)
		for o := range p.Strides {
			p.Strides[o][d] = int64(n.strides[o][d])
		}
	}
	return p, true
}

func deviceScatter(c *DeviceCall) error {
	x, ids, updates, y, a := c.In[0], c.In[1], c.In[2], c.Out[0], c.Attrs.(graph.Scatter)
	axis, err := x.Shape.Axis(a.Axis)
	if err != nil {
		return err
	}
	s, ok := suffix(x.DType)
	switch x.DType {
	case tensor.I32:
		s, ok = "_i32", true
	case tensor.I64:
		s, ok = "_i64", true
	}
	p, fits := scatterNest(ids.Shape, x.Shape, axis)
	if !ok || !fits {
		return c.Uncovered()
	}
	size := int64(x.Shape.Size())
	if size == 0 {
		return nil
	}
	to := y.Ptr
	if x.DType == tensor.BF16 { // sums in f32
		to = c.Scratch(4 * size)
		if err := deviceCast(c, tensor.BF16, tensor.F32, x.Ptr, to, size); err != nil {
			return err
		}
	} else if y.Ptr != x.Ptr {
		c.Queue.Copy(y.Ptr, x.Ptr, int64(y.Bytes()))
	}
	if ids.Shape.Size() > 0 {
		err = c.Launch("scatter"+s+indexSuffix(ids.DType), c.Strided(p.N, wordThreads), Block(wordThreads), 0, to, ids, updates, p,
			int64(ids.Shape[axis]), int64(ids.Shape.Strides()[axis]), int64(x.Shape[axis]), int64(x.Shape.Strides()[axis]), scatterModes[a.Mode])
	}
	if err == nil && x.DType == tensor.BF16 {
		err = deviceCast(c, tensor.F32, tensor.BF16, to, y.Ptr, size)
	}
	return err
}
