package graph

import "fmt"

// linearGradInfer checks x (K,M) and dy (K,N).
func linearGradInfer(n *Node) ([]Type, error) {
	dt, err := sameFloat(n)
	if err != nil {
		return nil, err
	}
	x, dy := n.In[0].Shape, n.In[1].Shape
	if len(x) != 2 || len(dy) != 2 || x[0] != dy[0] {
		return nil, fmt.Errorf("x %v and dy %v: expected two matrices of as many rows", x, dy)
	}
	return []Type{{dt, []int{x[1], dy[1]}}, {dt, []int{dy[1]}}}, nil
}

func init() {
	var samples []Sample
	for _, s := range [][3]int{{1, 1, 1}, {3, 17, 5}, {33, 65, 17}, {130, 16, 24}, {300, 40, 72}} {
		samples = append(samples, Sample{In: []SampleIn{In(s[0], s[1]), In(s[0], s[2])}, NoGrad: true, Why: "made after differentiation"})
	}
	// x (K,M), dy (K,N) → dw (M,N) = xᵀ·dy, db (N) = Σ rows of dy: both gradients of a linear layer's parameters, for devices
	// whose product can add the rows up as they pass by.
	register(Op{Name: "linear_grad", MinIn: 2, Infer: linearGradInfer, Samples: samples,
		FLOPs: func(n *Node) int64 { return 2 * int64(n.In[0].Shape.Size()) * int64(n.In[1].Shape[1]) }})
}
