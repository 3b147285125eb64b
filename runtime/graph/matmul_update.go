package graph

import (
	"fmt"

	"ringo/runtime/tensor"
)

// MatMulAdamW is the attribute struct of "matmul_adamw".
type MatMulAdamW struct {
	TransA, TransB bool // as in MatMul
	AdamW          AdamW
	Rows           bool // an embedding of the same table adds to some rows of the gradient
	Blocks         bool // a fourth output holds the moved parameter's "blocks"
}

func matmulAdamWInfer(n *Node) ([]Type, error) {
	a := attrs[MatMulAdamW](n)
	want := 6
	if a.Rows {
		want = 8
	}
	if len(n.In) != want {
		return nil, fmt.Errorf("%d inputs, attributes %+v ask for %d", len(n.In), a, want)
	}
	p, x, y := n.In[0], n.In[4], n.In[5]
	s, shape, err := MatMul{TransA: a.TransA, TransB: a.TransB}.Sizes(x.Shape, y.Shape)
	if err != nil {
		return nil, err
	}
	if s.Batch != 1 || !shape.Equal(p.Shape) || !n.In[1].Shape.Equal(p.Shape) || !n.In[2].Shape.Equal(p.Shape) {
		return nil, fmt.Errorf("product %v and states %v, %v: expected the parameter's shape %v", shape, n.In[1].Shape, n.In[2].Shape, p.Shape)
	}
	if h := n.In[3]; h.DType != tensor.F32 || h.Shape.Size() != HyperLen {
		return nil, fmt.Errorf("hyper is %v, expected f32(%d)", h.Type, HyperLen)
	}
	if a.Rows {
		if dy, ids := n.In[6], n.In[7]; dy.Shape.Size() != ids.Shape.Size()*p.Shape[1] {
			return nil, fmt.Errorf("rows %v for ids %v: expected %d columns", dy.Type, ids.Type, p.Shape[1])
		}
		if err := isIndex(n.In[7]); err != nil {
			return nil, err
		}
	}
	out := []Type{n.In[0].Type, n.In[1].Type, n.In[2].Type}
	if a.Blocks {
		out = append(out, Type{tensor.BF16, BlockShape(p.Shape[0], p.Shape[1])})
	}
	return out, nil
}

func matmulAdamWFLOPs(n *Node) int64 {
	a := attrs[MatMulAdamW](n)
	s, _, err := MatMul{TransA: a.TransA, TransB: a.TransB}.Sizes(n.In[4].Shape, n.In[5].Shape)
	if err != nil {
		return 0
	}
	return int64(s.M) * int64(s.N) * (2*int64(s.K) + 14)
}

func init() {
	hyper := SampleIn{Shape: tensor.Shape{HyperLen}, DType: tensor.F32, Lo: 0.1, Hi: 0.9}
	var samples []Sample
	for i, s := range [][3]int{{1, 1, 1}, {3, 17, 5}, {33, 65, 17}, {70, 40, 64}, {96, 160, 70}} {
		a := MatMulAdamW{TransA: i%2 == 0, AdamW: AdamW{0.9, 0.99, 1e-8, 0.1}, Rows: i >= 2}
		p, x := tensor.Shape{s[0], s[1]}, In(s[0], s[2])
		if a.TransA {
			x = In(s[2], s[0])
		}
		in := []SampleIn{In(p...), In(p...), InRange(0.1, 1, p...), hyper, x, In(s[2], s[1])}
		if a.Rows {
			in = append(in, In(2, 20, s[1]), InIndex(s[0], 2, 20))
		}
		samples = append(samples, Sample{In: in, Attrs: a, NoGrad: true})
	}
	// param (M,N), m, v, hyper, a, b [, dy (…,N), ids] → param, m, v [, blocks]: "adamw" with grad = op(a)·op(b) [+ embedding_grad(dy, ids)],
	// which is never in memory.
	register(Op{Name: "matmul_adamw", MinIn: 6, MaxIn: 8, Infer: matmulAdamWInfer, FLOPs: matmulAdamWFLOPs,
		Mutates: [][2]int{{0, 0}, {1, 1}, {2, 2}}, Samples: samples})
}
