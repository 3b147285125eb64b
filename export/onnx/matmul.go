package onnx

import "ringo/runtime/graph"

// isGemm reports whether a product is one of two matrices, which ONNX's Gemm computes with either transposed.
func isGemm(n *graph.Node) bool { return len(n.In[0].Shape) == 2 && len(n.In[1].Shape) == 2 }

// matmul: Gemm for two matrices; else MatMul, whose factors lie untransposed, and Add for the bias. Both take
// leading dimensions of the left factor along.
func matmul(n *node) []string {
	a := attributes[graph.MatMul](n.Node)
	if a.ActGrad != "" || a.Slope {
		n.fail("a product with an activation's derivative has no ONNX form: export a graph for inference")
	}
	var y string
	rest := 2 // inputs after the factors: bias, residual
	if isGemm(n.Node) {
		in := []string{n.in(0), n.in(1)}
		if a.Bias {
			in = append(in, n.in(2))
		}
		y = n.op("Gemm", in, attrInt("transA", oneIf(a.TransA)), attrInt("transB", oneIf(a.TransB)))
	} else {
		x, w := "", ""
		if x = n.in(0); a.TransA {
			x = n.perm(x, swapLast(len(n.In[0].Shape))...)
		}
		if a.TransB {
			w = n.transposed(1)
		} else {
			w = n.in(1)
		}
		y = n.op("MatMul", []string{x, w})
		if a.Bias {
			y = n.op("Add", []string{y, n.in(2)})
		}
	}
	if a.Bias {
		rest++
	}
	pre := y
	y = n.activate(y, a.Act)
	if a.Residual {
		y = n.op("Add", []string{y, n.in(rest)})
	}
	return []string{y, pre}[:len(n.Out)]
}
