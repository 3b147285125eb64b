package kernels

import (
	"math"

	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

// Gathering and scattering. An index outside the axis reads NaN (0 where the type has none) and is not written:
// it cannot reach foreign memory, and the NaN is found and named like any other.

func init() {
	register("gather", func(c *Call) {
		a, _ := c.Attrs.(graph.Gather)
		outer, n, inner := lines(c.In[0].Shape, a.Axis)
		takeChecked(c.Out[0], c.In[0], gatherIndex(c.In[1], outer, n, inner))
	})
	register("gather_grad", func(c *Call) {
		a, _ := c.Attrs.(graph.GatherGrad)
		outer, n, inner := lines(a.Shape, a.Axis)
		c.Out[0].Store(spread(c.In[0].Load(), gatherIndex(c.In[1], outer, n, inner), outer*n*inner))
	})
	register("embedding", func(c *Call) {
		table := c.In[0].Shape
		takeChecked(c.Out[0], c.In[0], rowsIndex(c.In[1], table[0], table[1]))
	})
	register("embedding_grad", func(c *Call) {
		out := c.Out[0].Shape
		c.Out[0].Store(spread(c.In[0].Load(), rowsIndex(c.In[1], out[0], out[1]), out.Size()))
	})
	register("gather_elements", func(c *Call) {
		a, _ := c.Attrs.(graph.Gather)
		takeChecked(c.Out[0], c.In[0], elementsIndex(c.In[1], c.In[0].Shape, a.Axis))
	})
	register("scatter_add", scatterRef)
}

// wrapIndex maps −n…n−1 to 0…n−1, anything else to −1.
func wrapIndex(i int64, n int) int {
	if i < 0 {
		i += int64(n)
	}
	if i < 0 || i >= int64(n) {
		return -1
	}
	return int(i)
}

// gatherIndex lists the input element of every output element of gather over outer × n × inner.
func gatherIndex(idx View, outer, n, inner int) []int {
	ids := idx.loadInts()
	index := make([]int, 0, outer*len(ids)*inner)
	for o := range outer {
		for _, id := range ids {
			k := wrapIndex(id, n)
			for i := range inner {
				if k < 0 {
					index = append(index, -1)
				} else {
					index = append(index, (o*n+k)*inner+i)
				}
			}
		}
	}
	return index
}

// rowsIndex is gatherIndex for the rows of a (v,c) table, whose ids do not count from the end.
func rowsIndex(ids View, v, c int) []int {
	index := make([]int, 0, ids.Shape.Size()*c)
	for _, id := range ids.loadInts() {
		for j := range c {
			if id < 0 || id >= int64(v) {
				index = append(index, -1)
			} else {
				index = append(index, int(id)*c+j)
			}
		}
	}
	return index
}

// elementsIndex lists, for each element of idx, the element of shape at the same place but along axis, where
// idx's value stands.
func elementsIndex(idx View, shape tensor.Shape, axis int) []int {
	axis, err := shape.Axis(axis)
	if err != nil {
		panic("kernels: " + err.Error()) // the row's Infer has checked it
	}
	own := shape.Strides()
	st := append([]int{}, own...)
	st[axis] = 0
	index := stridedIndex(idx.Shape, st, 0)
	for k, id := range idx.loadInts() {
		if i := wrapIndex(id, shape[axis]); i < 0 {
			index[k] = -1
		} else {
			index[k] += i * own[axis]
		}
	}
	return index
}

// takeChecked is take with NaN, or 0, where the index is −1.
func takeChecked(out, in View, index []int) {
	for _, i := range index {
		if i < 0 {
			nan := make([]float64, len(index))
			for k := range nan {
				nan[k] = math.NaN()
			}
			if !out.DType.IsFloat() {
				clear(nan)
			}
			out.Store(nan)
			break
		}
	}
	take(out, in, index)
}

// spread adds dy[k] to element index[k] of n zeros, in order.
func spread(dy []float64, index []int, n int) []float64 {
	dx := make([]float64, n)
	for k, at := range index {
		if at >= 0 {
			dx[at] += dy[k]
		}
	}
	return dx
}

// ONNX ScatterElements: updates are combined with what stands at their place, one after the other.
func scatterRef(c *Call) {
	a, _ := c.Attrs.(graph.Scatter)
	index := elementsIndex(c.In[1], c.In[0].Shape, a.Axis)
	mode := a.Mode
	if mode == "" {
		mode = "add"
	}
	if c.In[0].DType.IsFloat() {
		f := map[string]func(x, u float64) float64{"add": binaryRefs["add"].f, "mul": binaryRefs["mul"].f,
			"max": larger, "min": smaller, "set": func(x, u float64) float64 { return u }}[mode]
		c.Out[0].Store(scatter(c.In[0].Load(), c.In[2].Load(), index, f))
		return
	}
	f := map[string]func(x, u int64) int64{"add": binaryRefs["add"].i, "mul": binaryRefs["mul"].i,
		"max": binaryRefs["maximum"].i, "min": binaryRefs["minimum"].i, "set": func(x, u int64) int64 { return u }}[mode]
	c.Out[0].storeInts(scatter(c.In[0].loadInts(), c.In[2].loadInts(), index, f))
}

func scatter[T any](x, upd []T, index []int, f func(x, u T) T) []T {
	for k, at := range index {
		if at >= 0 {
			x[at] = f(x[at], upd[k])
		}
	}
	return x
}
