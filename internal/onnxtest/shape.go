package onnxtest

import (
	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

// reshape: 0 keeps the dimension of the same place unless allowzero is set, −1 is computed.
func reshape(n *node) []*graph.Value {
	x, keepZero := n.in[0], n.bool("allowzero", false)
	shape := append([]int{}, n.constInts(1, nil)...)
	for i, d := range shape {
		if d == 0 && !keepZero {
			if i >= len(x.Shape) {
				n.fail("dimension %d of shape %v copies one that %v does not have", i, shape, x.Type)
			}
			shape[i] = x.Shape[i]
		}
	}
	return one(n.Reshape(x, shape...))
}

// flatten makes a matrix: the axes before axis are its rows, the rest its columns.
func flatten(n *node) []*graph.Value {
	x, axis := n.in[0], n.int("axis", 1)
	if axis != len(x.Shape) {
		axis = n.axis(axis, len(x.Shape))
	}
	return one(n.Reshape(x, x.Shape[:axis].Size(), x.Shape[axis:].Size()))
}

func transpose(n *node) []*graph.Value {
	rank := len(n.in[0].Shape)
	reversed := make([]int, rank)
	for i := range reversed {
		reversed[i] = rank - 1 - i
	}
	return one(n.Transpose(n.in[0], n.ints("perm", reversed)...))
}

// slice: inputs starts, ends, axes, steps; negative starts and ends count from the end of the axis, and both are
// cut to it: to [0, d] going forwards, to [−1, d−1] backwards.
func slice(n *node) []*graph.Value {
	x := n.in[0]
	rank := len(x.Shape)
	s := graph.Slice{Start: make([]int, rank), End: x.Shape.Clone(), Step: ones(rank)}
	starts, ends := n.constInts(1, nil), n.constInts(2, nil)
	all := make([]int, len(starts))
	for i := range all {
		all[i] = i
	}
	axes, steps := n.constInts(3, all), n.constInts(4, ones(len(starts)))
	for i, a := range axes {
		a = n.axis(a, rank)
		d, lo, hi := x.Shape[a], 0, x.Shape[a]
		if steps[i] < 0 {
			lo, hi = -1, d-1
		}
		cut := func(v int) int {
			if v < 0 {
				v += d
			}
			return min(max(v, lo), hi)
		}
		s.Start[a], s.End[a], s.Step[a] = cut(starts[i]), cut(ends[i]), steps[i]
	}
	return n.ApplyN("slice", s, x)
}

func concat(n *node) []*graph.Value { return one(n.Concat(n.int("axis", 0), n.in...)) }

// expand stretches x by NumPy's rule in both directions: where shape has a 1, x's own dimension stays.
func expand(n *node) []*graph.Value {
	shape, err := tensor.Broadcast(n.in[0].Shape, n.constInts(1, nil))
	if err != nil {
		n.fail("%v", err)
	}
	return one(n.Broadcast(n.in[0], shape...))
}

// trilu keeps the triangle of the last two axes on and above (upper) or below the k-th diagonal.
func trilu(n *node) []*graph.Value {
	x, k, upper := n.in[0], int(n.constFloat(1, 0)), n.bool("upper", true)
	rank := len(x.Shape)
	keep := n.mask(x.Shape[rank-2], x.Shape[rank-1], func(i, j int) bool {
		return upper && j >= i+k || !upper && j <= i+k
	})
	return one(n.Where(keep, x, n.Scalar(0, x.DType)))
}

// mask is a Bool constant (rows, cols).
func (n *node) mask(rows, cols int, keep func(i, j int) bool) *graph.Value {
	t := tensor.New(tensor.Bool, rows, cols)
	for i := range rows {
		for j := range cols {
			if keep(i, j) {
				t.Bytes()[i*cols+j] = 1
			}
		}
	}
	return n.Const(t)
}
