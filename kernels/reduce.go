package kernels

import (
	"math"
	"sort"

	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

// Reductions. A float Fold starts at Init, which is also the result over no elements.
var reduceRefs = map[string]struct {
	init float64
	f    func(acc, x float64) float64
	i    func(acc, x int64) int64
}{
	"sum":  {0, func(a, x float64) float64 { return a + x }, func(a, x int64) int64 { return a + x }},
	"mean": {0, func(a, x float64) float64 { return a + x }, func(a, x int64) int64 { return a + x }},
	"prod": {1, func(a, x float64) float64 { return a * x }, func(a, x int64) int64 { return a * x }},
	"max":  {math.Inf(-1), larger, func(a, x int64) int64 { return max(a, x) }},
	"min":  {math.Inf(1), smaller, func(a, x int64) int64 { return min(a, x) }},
}

func init() {
	for name, r := range reduceRefs {
		register(name, func(c *Call) {
			place := reducePlaces(c)
			n := c.Out[0].Shape.Size()
			count := len(place) / max(n, 1)
			if c.In[0].DType.IsFloat() {
				acc := fold(c.In[0].Load(), place, n, r.init, r.f)
				for i := range acc {
					if name == "mean" {
						acc[i] /= float64(count)
					}
				}
				c.Out[0].Store(acc)
				return
			}
			// The limits of the element type stand for ±∞.
			acc := fold(c.In[0].loadInts(), place, n, saturateOrBool(r.init, c.In[0].DType), r.i)
			for i := range acc {
				if name == "mean" && count > 0 {
					acc[i] /= int64(count)
				}
			}
			c.Out[0].storeInts(acc)
		})
	}
	register("prod_grad", prodGradRef)
	register("argmax", argmaxRef)
	register("topk", topkRef)
}

func saturateOrBool(x float64, d tensor.DType) int64 {
	if d == tensor.Bool {
		return int64(truth(x > 0))
	}
	return saturate(x, d)
}

// reducePlaces lists, for each element of the input, the output element that it is folded into.
func reducePlaces(c *Call) []int {
	a, _ := c.Attrs.(graph.Reduce)
	shape := c.In[0].Shape
	reduced, err := a.Reduced(shape)
	if err != nil {
		panic("kernels: " + err.Error()) // the row's Infer has checked it
	}
	strides, n := make([]int, len(shape)), 1
	for d := len(shape) - 1; d >= 0; d-- {
		if !reduced[d] {
			strides[d] = n
			n *= shape[d]
		}
	}
	return stridedIndex(shape, strides, 0)
}

func fold[T any](x []T, place []int, n int, init T, f func(acc, x T) T) []T {
	acc := make([]T, n)
	for i := range acc {
		acc[i] = init
	}
	for k, p := range place {
		acc[p] = f(acc[p], x[k])
	}
	return acc
}

// dx = dy·(product of all before)·(product of all after)
func prodGradRef(c *Call) {
	place, x, dy := reducePlaces(c), c.In[0].Load(), c.In[1].Load()
	n := c.In[1].Shape.Size()
	dx := make([]float64, len(x))
	acc := fold(nil, nil, n, 1, larger)
	for k, p := range place {
		dx[k] = dy[p] * acc[p]
		acc[p] *= x[k]
	}
	acc = fold(nil, nil, n, 1, larger)
	for k := len(x) - 1; k >= 0; k-- {
		dx[k] *= acc[place[k]]
		acc[place[k]] *= x[k]
	}
	c.Out[0].Store(dx)
}

// lines cuts a shape at an axis: outer × n × inner.
func lines(shape tensor.Shape, axis int) (outer, n, inner int) {
	axis, err := shape.Axis(axis)
	if err != nil {
		panic("kernels: " + err.Error()) // the row's Infer has checked it
	}
	return shape[:axis].Size(), shape[axis], shape[axis+1:].Size()
}

// before returns an order of the elements of x: larger first, NaN before all, as NumPy's argmax has it.
func (v View) before() func(i, j int) bool {
	if !v.DType.IsFloat() {
		x := v.loadInts()
		return func(i, j int) bool { return x[i] > x[j] }
	}
	x := v.Load()
	return func(i, j int) bool { return x[i] > x[j] || (x[i] != x[i] && x[j] == x[j]) }
}

func argmaxRef(c *Call) {
	a, _ := c.Attrs.(graph.ArgMax)
	outer, n, inner := lines(c.In[0].Shape, a.Axis)
	before := c.In[0].before()
	out := make([]int64, outer*inner)
	for o := range outer {
		for i := range inner {
			at := func(k int) int { return (o*n+k)*inner + i }
			best := 0
			for k := 1; k < n; k++ {
				if before(at(k), at(best)) || (a.Last && !before(at(best), at(k))) {
					best = k
				}
			}
			out[o*inner+i] = int64(best)
		}
	}
	c.Out[0].storeInts(out)
}

func topkRef(c *Call) {
	a, _ := c.Attrs.(graph.TopK)
	outer, n, inner := lines(c.In[0].Shape, a.Axis)
	before, size := c.In[0].before(), c.In[0].DType.Size()
	order := make([]int, n)
	for o := range outer {
		for i := range inner {
			at := func(k int) int { return (o*n+k)*inner + i }
			for k := range order {
				order[k] = k
			}
			sort.SliceStable(order, func(p, q int) bool {
				if a.Smallest {
					p, q = q, p
				}
				return before(at(order[p]), at(order[q]))
			})
			for k, from := range order[:a.K] {
				to := (o*a.K+k)*inner + i
				copy(c.Out[0].Bytes[to*size:(to+1)*size], c.In[0].Bytes[at(from)*size:])
				tensor.View[int64](c.Out[1].Bytes)[to] = int64(from)
			}
		}
	}
}
