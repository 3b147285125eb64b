package onnxtest

import "ringo/runtime/graph"

func matMul(n *node) []*graph.Value {
	return one(n.MatMul(n.in[0], n.in[1], graph.MatMul{}))
}

// y = α·op(a)·op(b) + β·c, where c broadcasts to y.
func gemm(n *node) []*graph.Value {
	alpha, beta := n.float("alpha", 1), n.float("beta", 1)
	m := graph.MatMul{TransA: n.bool("transA", false), TransB: n.bool("transB", false)}
	y := n.MatMul(n.in[0], n.in[1], m)
	if alpha != 1 {
		y = n.Scale(y, alpha)
	}
	c := n.input(2)
	if c == nil {
		return one(y)
	}
	if beta != 1 {
		c = n.Scale(c, beta)
	}
	return one(n.Add(y, c))
}
