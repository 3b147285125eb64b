package kernels

import (
	"math"

	"ringo/runtime/tensor"
)

// binaryRefs holds the arithmetic of binary ops, for floats and, wrapping around, for integers.
var binaryRefs = map[string]struct {
	f func(a, b float64) float64
	i func(a, b int64) int64
}{
	"add":     {func(a, b float64) float64 { return a + b }, func(a, b int64) int64 { return a + b }},
	"sub":     {func(a, b float64) float64 { return a - b }, func(a, b int64) int64 { return a - b }},
	"mul":     {func(a, b float64) float64 { return a * b }, func(a, b int64) int64 { return a * b }},
	"div":     {func(a, b float64) float64 { return a / b }, divInt},
	"maximum": {larger, func(a, b int64) int64 { return max(a, b) }},
	"minimum": {smaller, func(a, b int64) int64 { return min(a, b) }},
}

var compareRefs = map[string]struct {
	f func(a, b float64) bool
	i func(a, b int64) bool
}{
	"eq": {func(a, b float64) bool { return a == b }, func(a, b int64) bool { return a == b }},
	"ne": {func(a, b float64) bool { return a != b }, func(a, b int64) bool { return a != b }},
	"lt": {func(a, b float64) bool { return a < b }, func(a, b int64) bool { return a < b }},
	"le": {func(a, b float64) bool { return a <= b }, func(a, b int64) bool { return a <= b }},
	"gt": {func(a, b float64) bool { return a > b }, func(a, b int64) bool { return a > b }},
	"ge": {func(a, b float64) bool { return a >= b }, func(a, b int64) bool { return a >= b }},
}

var logicRefs = map[string]func(a, b int64) int64{
	"and": func(a, b int64) int64 { return a & b },
	"or":  func(a, b int64) int64 { return a | b },
	"xor": func(a, b int64) int64 { return a ^ b },
}

// larger and smaller keep a NaN of either side, as NumPy does.
func larger(a, b float64) float64 {
	if a > b || a != a {
		return a
	}
	return b
}

func smaller(a, b float64) float64 {
	if a < b || a != a {
		return a
	}
	return b
}

// divInt truncates toward zero; division by zero, which ONNX leaves open, gives 0.
func divInt(a, b int64) int64 {
	if b == 0 {
		return 0
	}
	return a / b
}

func init() {
	for name, r := range binaryRefs {
		register(name, func(c *Call) {
			ia, ib := c.broadcast(0), c.broadcast(1)
			if c.In[0].DType.IsFloat() {
				c.Out[0].Store(zip(c.In[0].Load(), c.In[1].Load(), ia, ib, r.f))
			} else {
				c.Out[0].storeInts(zip(c.In[0].loadInts(), c.In[1].loadInts(), ia, ib, r.i))
			}
		})
	}
	for name, r := range compareRefs {
		register(name, func(c *Call) {
			ia, ib := c.broadcast(0), c.broadcast(1)
			var hit []bool
			if c.In[0].DType.IsFloat() {
				hit = zip(c.In[0].Load(), c.In[1].Load(), ia, ib, r.f)
			} else {
				hit = zip(c.In[0].loadInts(), c.In[1].loadInts(), ia, ib, r.i)
			}
			for i, h := range hit {
				c.Out[0].Bytes[i] = uint8(truth(h))
			}
		})
	}
	for name, f := range logicRefs {
		register(name, func(c *Call) {
			c.Out[0].storeInts(zip(c.In[0].loadInts(), c.In[1].loadInts(), c.broadcast(0), c.broadcast(1), f))
		})
	}
	register("pow", powRef)
	register("where", whereRef)
}

// zip returns f(a[ia[k]], b[ib[k]]) for every k.
func zip[T, R any](a, b []T, ia, ib []int, f func(a, b T) R) []R {
	out := make([]R, len(ia))
	for k := range out {
		out[k] = f(a[ia[k]], b[ib[k]])
	}
	return out
}

// broadcast returns, for each element of output 0, the element of input i that NumPy's rule pairs with it.
func (c *Call) broadcast(i int) []int { return broadcastIndex(c.In[i].Shape, c.Out[0].Shape) }

func broadcastIndex(in, out tensor.Shape) []int {
	return stridedIndex(out, broadcastStrides(in, out), 0)
}

// broadcastStrides gives, per axis of out, the elements of in between neighbours: 0 where in is stretched.
func broadcastStrides(in, out tensor.Shape) []int {
	st, own := make([]int, len(out)), in.Strides()
	lead := len(out) - len(in)
	for d := range in {
		if in[d] != 1 {
			st[lead+d] = own[d]
		}
	}
	return st
}

// stridedIndex lists base + Σ iₐ·strides[a] for all positions of shape in row-major order.
func stridedIndex(shape tensor.Shape, strides []int, base int) []int {
	out := make([]int, shape.Size())
	if len(out) == 0 {
		return out
	}
	pos := make([]int, len(shape))
	for k := range out {
		out[k] = base
		for a := len(shape) - 1; a >= 0; a-- {
			pos[a]++
			base += strides[a]
			if pos[a] < shape[a] {
				break
			}
			base -= pos[a] * strides[a]
			pos[a] = 0
		}
	}
	return out
}

// pow: integers raised to integers stay exact; any float takes the float64 way and is truncated at the end.
func powRef(c *Call) {
	ia, ib := c.broadcast(0), c.broadcast(1)
	switch {
	case c.In[0].DType.IsFloat():
		c.Out[0].Store(zip(c.In[0].Load(), c.In[1].Load(), ia, ib, math.Pow))
	case c.In[1].DType.IsFloat():
		y := zip(c.In[0].Load(), c.In[1].Load(), ia, ib, math.Pow)
		out := make([]int64, len(y))
		for k, v := range y {
			out[k] = saturate(v, c.Out[0].DType)
		}
		c.Out[0].storeInts(out)
	default:
		c.Out[0].storeInts(zip(c.In[0].loadInts(), c.In[1].loadInts(), ia, ib, powInt))
	}
}

// powInt is a^b by squaring, wrapping around; a negative b gives the truncated fraction.
func powInt(a, b int64) int64 {
	if b < 0 {
		switch a {
		case 1:
			return 1
		case -1:
			return 1 - 2*(b&1)
		}
		return 0
	}
	y := int64(1)
	for ; b > 0; b >>= 1 {
		if b&1 == 1 {
			y *= a
		}
		a *= a
	}
	return y
}

func whereRef(c *Call) {
	ic, ix, iy := c.broadcast(0), c.broadcast(1), c.broadcast(2)
	size := c.Out[0].DType.Size()
	out := make([]byte, len(c.Out[0].Bytes))
	for k := range ic {
		src, i := c.In[2].Bytes, iy[k]
		if c.In[0].Bytes[ic[k]] != 0 {
			src, i = c.In[1].Bytes, ix[k]
		}
		copy(out[k*size:(k+1)*size], src[i*size:])
	}
	copy(c.Out[0].Bytes, out)
}
