package onnxtest

import (
	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

func gather(n *node) []*graph.Value {
	return one(n.Gather(n.in[0], n.in[1], n.int("axis", 0)))
}

func gatherElements(n *node) []*graph.Value {
	return n.ApplyN("gather_elements", graph.Gather{Axis: n.int("axis", 0)}, n.in[0], n.in[1])
}

// scatterElements also serves Scatter, its name before opset 11.
func scatterElements(n *node) []*graph.Value {
	a := graph.Scatter{Axis: n.int("axis", 0), Mode: n.scatterMode()}
	return n.ApplyN("scatter_add", a, n.in[0], n.in[1], n.in[2])
}

func (n *node) scatterMode() string {
	if mode := n.string("reduction", "none"); mode != "none" {
		return mode
	}
	return "set"
}

// flatIndex turns coordinates idx (…,K) into axes 0…K−1 of shape into positions (…) in their product, by
// Horner's rule; negative coordinates count from the end.
func (n *node) flatIndex(idx *graph.Value, shape tensor.Shape) *graph.Value {
	last := len(idx.Shape) - 1
	flat := n.Scalar(0, idx.DType)
	for k := range idx.Shape[last] {
		d := float64(shape[k])
		i := n.Reshape(n.SliceAxis(idx, last, k, k+1), idx.Shape[:last]...)
		i = n.Where(n.Compare("lt", i, n.Scalar(0, i.DType)), n.AddScalar(i, d), i)
		flat = n.Add(n.Scale(flat, d), i)
	}
	return flat
}

// gatherND: y[b…, i…] = x[b…, idx[b…, i…, 0], …, idx[b…, i…, K−1]] with batch_dims axes b. The batch axes become
// part of the row number, so that one gather of rows does it.
func gatherND(n *node) []*graph.Value {
	x, idx, b := n.in[0], n.in[1], n.int("batch_dims", 0)
	k := idx.Shape[len(idx.Shape)-1]
	row := n.flatIndex(idx, x.Shape[b:])
	if b > 0 {
		batch, size := x.Shape[:b].Size(), x.Shape[b:b+k].Size()
		start := tensor.New(idx.DType, join(x.Shape[:b], ones(len(row.Shape)-b))...)
		numbers := make([]float64, batch)
		for i := range numbers {
			numbers[i] = float64(i * size)
		}
		tensor.StoreFloat64(start.Bytes(), start.DType, numbers)
		row = n.Add(row, n.Const(start))
	}
	rows := n.Reshape(x, join([]int{x.Shape[:b+k].Size()}, x.Shape[b+k:])...)
	return one(n.Gather(rows, row, 0))
}

// scatterND: x with row idx[i…, :] of its first K axes combined with updates[i…], as scatter of whole rows.
func scatterND(n *node) []*graph.Value {
	x, idx, updates := n.in[0], n.in[1], n.in[2]
	k := idx.Shape[len(idx.Shape)-1]
	count, size := x.Shape[:k].Size(), x.Shape[k:].Size()
	row := n.Reshape(n.flatIndex(idx, x.Shape), -1, 1)
	m := row.Shape[0]
	y := n.Apply("scatter_add", graph.Scatter{Mode: n.scatterMode()},
		n.Reshape(x, count, size), n.Broadcast(row, m, size), n.Reshape(updates, m, size))
	return one(n.Reshape(y, x.Shape...))
}

// oneHot: y = values[1] where a new axis of length depth counts to the index, else values[0]. An index outside
// [−depth, depth) gives a row of values[0].
func oneHot(n *node) []*graph.Value {
	depth := int(n.constFloat(1, 0))
	idx := n.Cast(n.in[0], tensor.I64)
	rank := len(idx.Shape)
	axis := n.axis(n.int("axis", -1), rank+1)
	idx = n.Where(n.positive(idx), idx, n.AddScalar(idx, float64(depth)))
	idx = n.Reshape(idx, join(idx.Shape[:axis], ones(1), idx.Shape[axis:])...)
	hit := n.Compare("eq", idx, n.Reshape(n.iota(depth), join(ones(axis), []int{depth}, ones(rank-axis))...))
	values := n.Split(n.in[2], 2, 0)
	return one(n.Where(hit, values[1], values[0]))
}

// iota is the I64 constant 0…d−1.
func (n *node) iota(d int) *graph.Value {
	t := tensor.New(tensor.I64, d)
	for i := range d {
		tensor.Data[int64](t)[i] = int64(i)
	}
	return n.Const(t)
}
