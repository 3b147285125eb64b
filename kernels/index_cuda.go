//go:build cuda

package kernels

import (
	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

func init() {
	registerDevice("embedding", func(c *DeviceCall) error {
		table := c.In[0].Shape
		return deviceTake(c, table[0], table[1], 0)
	})
	registerDevice("gather", func(c *DeviceCall) error {
		_, n, inner := lines(c.In[0].Shape, c.Attrs.(graph.Gather).Axis)
		return deviceTake(c, n, inner, 1)
	})
	registerDevice("gather_elements", deviceGatherElements)
}

// deviceTake moves runs of inner elements, in words as wide as divide them.
func deviceTake(c *DeviceCall, n, inner, wrap int) error {
	x, ids, y := c.In[0], c.In[1], c.Out[0]
	if y.Bytes() == 0 {
		return nil
	}
	run := int64(inner * x.DType.Size())
	size := widest(run)
	words := int64(y.Bytes()) / int64(size)
	return c.Launch(wordKernel("take"+indexSuffix(ids.DType), size), c.Strided(words, wordThreads), Block(wordThreads), 0,
		x, ids, y, words, int64(ids.Shape.Size()), int64(n), run/int64(size), int32(wrap), absent(x.DType))
}

// elementsNest is the walk over ids where x, or what is scattered to, stands still along axis.
func elementsNest(ids, x tensor.Shape, axis int) (p nestArgs, step, n int64, ok bool) {
	axis, err := x.Axis(axis)
	if err != nil {
		panic("kernels: " + err.Error()) // the row's Infer has checked it
	}
	own := x.Strides()
	st := append([]int{}, own...)
	st[axis] = 0
	p, ok = deviceNest(nest{ids, [][]int{st}}.collapse())
	return p, int64(own[axis]), int64(x[axis]), ok
}

func deviceGatherElements(c *DeviceCall) error {
	x, ids, y := c.In[0], c.In[1], c.Out[0]
	p, step, n, ok := elementsNest(ids.Shape, x.Shape, c.Attrs.(graph.Gather).Axis)
	if !ok {
		return c.Uncovered()
	}
	if p.N == 0 {
		return nil
	}
	return c.Launch(wordKernel("take_elements"+indexSuffix(ids.DType), x.DType.Size()), c.Strided(p.N, wordThreads), Block(wordThreads), 0,
		x, ids, y, p, step, n, absent(x.DType))
}
