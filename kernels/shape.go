package kernels

import (
	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

// Shape ops move elements and never look into them, so every type keeps all its bits.

func init() {
	register("reshape", func(c *Call) { copy(c.Out[0].Bytes, c.In[0].Bytes) })
	register("transpose", func(c *Call) {
		st := transposeStrides(c)
		take(c.Out[0], c.In[0], stridedIndex(c.Out[0].Shape, st, 0))
	})
	register("broadcast", func(c *Call) { take(c.Out[0], c.In[0], c.broadcast(0)) })
	register("slice", func(c *Call) {
		a, _ := c.Attrs.(graph.Slice)
		base, st := sliceStrides(a, c.In[0].Shape)
		take(c.Out[0], c.In[0], stridedIndex(c.Out[0].Shape, st, base))
	})
	register("slice_grad", func(c *Call) {
		a, _ := c.Attrs.(graph.SliceGrad)
		base, st := sliceStrides(a.Slice, a.Shape)
		dy, dx := c.In[0].Load(), make([]float64, a.Shape.Size())
		for k, at := range stridedIndex(c.In[0].Shape, st, base) {
			dx[at] = dy[k]
		}
		c.Out[0].Store(dx)
	})
	register("concat", concatRef)
	register("pad", padRef)
	register("pad_grad", padGradRef)
}

// take copies element index[k] of in to element k of out; a negative index leaves out alone.
func take(out, in View, index []int) {
	size := in.DType.Size()
	for k, i := range index {
		if i >= 0 {
			copy(out.Bytes[k*size:(k+1)*size], in.Bytes[i*size:])
		}
	}
}

// transposeStrides gives, per output axis, the input's stride.
func transposeStrides(c *Call) []int {
	a, _ := c.Attrs.(graph.Transpose)
	own := c.In[0].Shape.Strides()
	st := make([]int, len(a.Perm))
	for i, p := range a.Perm {
		st[i] = own[p]
	}
	return st
}

// sliceStrides gives the first element of a slice of shape, and the strides along its axes.
func sliceStrides(s graph.Slice, shape tensor.Shape) (base int, strides []int) {
	own := shape.Strides()
	strides = make([]int, len(shape))
	for i := range shape {
		base += s.Start[i] * own[i]
		strides[i] = s.Step[i] * own[i]
	}
	return base, strides
}

func concatRef(c *Call) {
	a, _ := c.Attrs.(graph.Concat)
	outer, _, _ := lines(c.Out[0].Shape, a.Axis)
	if outer == 0 {
		return
	}
	row, at := len(c.Out[0].Bytes)/outer, 0
	for _, in := range c.In {
		n := len(in.Bytes) / outer
		for o := range outer {
			copy(c.Out[0].Bytes[o*row+at:], in.Bytes[o*n:(o+1)*n])
		}
		at += n
	}
}

// padIndex lists, for each element of the padded tensor, the element of shape that it copies, or −1.
func padIndex(p graph.Pad, shape, padded tensor.Shape) []int {
	index := make([]int, padded.Size())
	own := shape.Strides()
	pos := stridedIndex(padded, padded.Strides(), 0)
	for k, rest := range pos {
		for a := len(padded) - 1; a >= 0 && index[k] >= 0; a-- {
			i := p.Index(rest%padded[a], a, shape[a])
			rest /= padded[a]
			if i < 0 {
				index[k] = -1
			} else {
				index[k] += i * own[a]
			}
		}
	}
	return index
}

func padRef(c *Call) {
	p, _ := c.Attrs.(graph.Pad)
	border := make([]float64, c.Out[0].Shape.Size())
	for i := range border {
		border[i] = p.Value
	}
	c.Out[0].Store(border)
	take(c.Out[0], c.In[0], padIndex(p, c.In[0].Shape, c.Out[0].Shape))
}

func padGradRef(c *Call) {
	a, _ := c.Attrs.(graph.PadGrad)
	dy, dx := c.In[0].Load(), make([]float64, a.Shape.Size())
	for k, at := range padIndex(a.Pad, a.Shape, c.In[0].Shape) {
		if at >= 0 {
			dx[at] += dy[k]
		}
	}
	c.Out[0].Store(dx)
}
