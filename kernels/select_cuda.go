//go:build cuda

package kernels

import (
	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

// selectThreads is SELECT_THREADS of select.cu.
const selectThreads = 256

func init() {
	registerDevice("argmax", func(c *DeviceCall) error {
		a, last := c.Attrs.(graph.ArgMax), int32(0)
		if a.Last {
			last = 1
		}
		return deviceSelect(c, a.Axis, 1, 0, last, Null, c.Out[0])
	})
	registerDevice("topk", func(c *DeviceCall) error {
		a, smallest := c.Attrs.(graph.TopK), int32(0)
		if a.Smallest {
			smallest = 1
		}
		return deviceSelect(c, a.Axis, a.K, smallest, 0, c.Out[0].Ptr, c.Out[1])
	})
}

func deviceSelect(c *DeviceCall, axis, k int, smallest, last int32, values uint64, indices DeviceView) error {
	x := c.In[0]
	s, ok := suffix(x.DType)
	switch x.DType {
	case tensor.I32:
		s, ok = "_i32", true
	case tensor.I64:
		s, ok = "_i64", true
	}
	if !ok {
		return c.Uncovered()
	}
	outer, n, inner := lines(x.Shape, axis)
	if outer*inner*k == 0 {
		return nil
	}
	return c.Launch("select"+s, Grid(ceilDiv(outer*inner*32, selectThreads)), Block(selectThreads), 0,
		x, values, indices, int64(outer*inner), int64(n), int64(inner), int64(k), smallest, last)
}
