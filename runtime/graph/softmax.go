package graph

// Softmax is the attribute struct of "softmax", "log_softmax" and their gradients.
type Softmax struct {
	Axis int // may count from the end: −1 is the last
}

func softmaxInfer(n *Node) ([]Type, error) {
	if _, err := sameFloat(n); err != nil {
		return nil, err
	}
	if _, err := n.In[0].Shape.Axis(attrs[Softmax](n).Axis); err != nil {
		return nil, err
	}
	for i := 1; i < len(n.In); i++ {
		if err := sameShape(n, i); err != nil {
			return nil, err
		}
	}
	return []Type{n.In[0].Type}, nil
}

func init() {
	var one, two []Sample
	for _, c := range []struct {
		axis  int
		shape []int
	}{{-1, []int{3, 17}}, {1, []int{5, 65}}, {0, []int{7, 3}}, {1, []int{2, 5, 9}}, {-1, []int{4, 1}}, {0, []int{33}}} {
		one = append(one, Sample{In: []SampleIn{InRange(-4, 4, c.shape...)}, Attrs: Softmax{c.axis}})
		two = append(two, Sample{In: []SampleIn{InRange(0.1, 1, c.shape...), In(c.shape...)}, Attrs: Softmax{c.axis}})
	}
	logs := make([]Sample, len(two))
	for i, s := range two {
		logs[i] = Sample{In: []SampleIn{InRange(-4, 0, s.In[0].Shape...), s.In[1]}, Attrs: s.Attrs}
	}
	register(
		// yᵢ = e^(xᵢ−m) / Σⱼ e^(xⱼ−m), m = max x, along one axis
		Op{Name: "softmax", MinIn: 1, Infer: softmaxInfer, FLOPs: perElement(5), InPlace: [][2]int{{0, 0}}, Samples: one,
			VJP: func(g *Graph, n *Node, dy []*Value) []*Value {
				return []*Value{g.Apply("softmax_grad", n.Attrs, n.Out[0], dy[0])}
			}},
		// y, dy → dx = y·(dy − Σⱼ dyⱼ·yⱼ)
		Op{Name: "softmax_grad", MinIn: 2, Infer: softmaxInfer, FLOPs: perElement(4), InPlace: [][2]int{{0, 0}, {0, 1}}, Samples: two},
		// yᵢ = xᵢ − m − log Σⱼ e^(xⱼ−m)
		Op{Name: "log_softmax", MinIn: 1, Infer: softmaxInfer, FLOPs: perElement(5), InPlace: [][2]int{{0, 0}}, Samples: one,
			VJP: func(g *Graph, n *Node, dy []*Value) []*Value {
				return []*Value{g.Apply("log_softmax_grad", n.Attrs, n.Out[0], dy[0])}
			}},
		// y, dy → dx = dy − e^y·Σⱼ dyⱼ
		Op{Name: "log_softmax_grad", MinIn: 2, Infer: softmaxInfer, FLOPs: perElement(5), InPlace: [][2]int{{0, 0}, {0, 1}}, Samples: logs},
	)
}

// Softmax turns scores along axis (−1 is the last) into probabilities.
func (g *Graph) Softmax(v *Value, axis int) *Value { return g.Apply("softmax", Softmax{axis}, v) }

// LogSoftmax is the logarithm of Softmax, without its loss of precision.
func (g *Graph) LogSoftmax(v *Value, axis int) *Value {
	return g.Apply("log_softmax", Softmax{axis}, v)
}
