//go:build cgo

package kernels

// #cgo noescape rg_move
// #cgo nocallback rg_move
// #cgo noescape rg_fill_move
// #cgo nocallback rg_fill_move
// #cgo noescape rg_concat
// #cgo nocallback rg_concat
// #include "shape.h"
import "C"

import (
	"sort"
	"unsafe"

	"ringo/runtime/graph"
)

func init() {
	registerFast("transpose", bindTranspose)
	registerFast("broadcast", func(c *Call) func() {
		return bindMove(c, broadcastNest(c.Out[0].Shape, c.In[0]), 0, 0)
	})
	registerFast("slice", func(c *Call) func() {
		a, _ := c.Attrs.(graph.Slice)
		base, st := sliceStrides(a, c.In[0].Shape)
		n := nest{c.Out[0].Shape, [][]int{c.Out[0].Shape.Strides(), st}}
		return bindMove(c, n.collapse(), base, 0)
	})
	registerFast("slice_grad", func(c *Call) func() {
		a, _ := c.Attrs.(graph.SliceGrad)
		base, st := sliceStrides(a.Slice, a.Shape)
		return bindFillMove(c, nest{c.In[0].Shape, [][]int{st, c.In[0].Shape.Strides()}}, base, 0)
	})
	registerFast("pad", bindPad)
	registerFast("concat", bindConcat)
}

// at returns the address of element i.
func (v View) at(i int) unsafe.Pointer { return unsafe.Add(v.Ptr(), i*v.DType.Size()) }

// bindMove copies input 0, from element inAt on, to output 0, from outAt on. One dense run is a plain copy.
func bindMove(c *Call, n nest, inAt, outAt int) func() {
	l := cLoop(n)
	if l == nil {
		return nil
	}
	if len(n.dims) == 1 && n.strides[0][0] == 1 && n.strides[1][0] == 1 {
		in, out := c.In[0], c.Out[0]
		return bindCopyBytes(out.at(outAt), in.at(inAt), n.dims[0]*in.DType.Size())
	}
	x, y, size := c.In[0].at(inAt), c.Out[0].at(outAt), C.int(c.In[0].DType.Size())
	return func() { C.rg_move(l, size, x, y) }
}

// bindTranspose brings the input's dense axis next to the output's, which is what the tiled loop needs; the
// order of the axes outside is free.
func bindTranspose(c *Call) func() {
	n := nest{c.Out[0].Shape, [][]int{c.Out[0].Shape.Strides(), transposeStrides(c)}}.collapse()
	last := len(n.dims) - 1
	order := make([]int, 0, len(n.dims))
	dense := -1
	for a := range last {
		if n.strides[1][a] == 1 {
			dense = a
		} else {
			order = append(order, a)
		}
	}
	sort.SliceStable(order, func(i, j int) bool { return n.strides[0][order[i]] > n.strides[0][order[j]] })
	if dense >= 0 {
		order = append(order, dense)
	}
	order = append(order, last)
	m := nest{strides: make([][]int, 2)}
	for _, a := range order {
		m.dims = append(m.dims, n.dims[a])
		for o := range m.strides {
			m.strides[o] = append(m.strides[o], n.strides[o][a])
		}
	}
	return bindMove(c, m, 0, 0)
}

// bindFillMove fills the output with value and then copies the input into part of it.
func bindFillMove(c *Call, n nest, outAt int, value float64) func() {
	out := c.Out[0]
	bits, size, total := C.uint64_t(elementBits(out.DType, value)), C.int(out.DType.Size()), C.long(out.Shape.Size())
	if total == 0 {
		return nil
	}
	l := &C.rg_loop{} // nothing to move
	if n.size() > 0 {
		if l = cLoop(n.collapse()); l == nil {
			return nil
		}
	}
	x, y, at := c.In[0].Ptr(), out.Ptr(), C.long(outAt)
	return func() { C.rg_fill_move(l, size, x, y, at, bits, total) }
}

func bindPad(c *Call) func() {
	p, _ := c.Attrs.(graph.Pad)
	if p.Mode != "" && p.Mode != "constant" {
		return nil
	}
	own, at := c.Out[0].Shape.Strides(), 0
	for i := range p.Before {
		if p.Before[i] < 0 || p.After[i] < 0 {
			return nil
		}
		at += p.Before[i] * own[i]
	}
	return bindFillMove(c, nest{c.In[0].Shape, [][]int{own, c.In[0].Shape.Strides()}}, at, p.Value)
}

func bindConcat(c *Call) func() {
	a, _ := c.Attrs.(graph.Concat)
	rows, _, _ := lines(c.Out[0].Shape, a.Axis)
	if c.Out[0].Shape.Size() == 0 {
		return nil
	}
	in, bytes := make([]C.uintptr_t, len(c.In)), make([]C.int64_t, len(c.In))
	for i, v := range c.In {
		// Arena memory does not move: its address may be kept as a number.
		in[i], bytes[i] = C.uintptr_t(uintptr(v.Ptr())), C.int64_t(len(v.Bytes)/rows)
	}
	y, count := c.Out[0].Ptr(), C.int(len(c.In))
	return func() { C.rg_concat(count, &in[0], &bytes[0], C.long(rows), y) }
}
