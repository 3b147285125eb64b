package graph

import (
	"fmt"

	"ringo/runtime/tensor"
)

// Dropout is the attribute struct of "dropout".
type Dropout struct {
	P   float64 // probability of zeroing an element, of [0,1)
	Key uint32  // tells the dropout layers of one model apart
}

func dropoutInfer(n *Node) ([]Type, error) {
	x, rng, a := n.In[0], n.In[1], attrs[Dropout](n)
	switch {
	case !x.DType.IsFloat():
		return nil, fmt.Errorf("x is %v, expected a float type", x.Type)
	case rng.DType != tensor.I64 || rng.Shape.Size() != 3:
		return nil, fmt.Errorf("rng is %v, expected i64(3): seed, step, lane", rng.Type)
	case a.P < 0 || a.P >= 1:
		return nil, fmt.Errorf("probability %g, expected a number of [0,1)", a.P)
	case x.Shape.Size() > 1<<34:
		return nil, fmt.Errorf("x is %v, more than the 2^34 elements that one counter word numbers", x.Type)
	}
	return []Type{x.Type}, nil
}

func init() {
	rng := SampleIn{Shape: tensor.Shape{3}, DType: tensor.I64, Max: 1 << 20}
	var samples []Sample
	for i, size := range []int{1, 3, 17, 65, 1030} {
		samples = append(samples, Sample{In: []SampleIn{In(size), rng}, Attrs: Dropout{0.1 + 0.2*float64(i), uint32(i)}})
	}
	samples = append(samples, Sample{In: []SampleIn{In(2, 7), rng}, Attrs: Dropout{0, 3}})
	register(
		// x, rng I64[3] = (seed, step, lane) → y = keep·x/(1−P) (Srivastava et al., "Dropout", 2014).
		//
		// Philox4x32-10 with key (seed low 32 bits, seed high 32 bits) and counter words
		// (block, lane low 32 bits, step low 32 bits, Key). Element i uses word i%4 of block i/4 and is kept where
		// tensor.Unit(word) ≥ P. So the mask is a pure function of (seed, step, lane, Key, i); the gradient is
		// the same op applied to dy.
		Op{Name: "dropout", MinIn: 2, Infer: dropoutInfer, InPlace: [][2]int{{0, 0}}, Samples: samples,
			VJP: func(g *Graph, n *Node, dy []*Value) []*Value {
				return []*Value{g.Apply("dropout", n.Attrs, dy[0], n.In[1]), nil}
			}},
	)
}

// Dropout zeroes each element of v with probability p and scales the others by 1/(1−p). rng is I64[3] = seed, step,
// lane; key must differ between the dropout layers of a model. With p = 0 it adds nothing.
func (g *Graph) Dropout(v, rng *Value, p float64, key uint32) *Value {
	if p == 0 {
		return v
	}
	return g.Apply("dropout", Dropout{p, key}, v, rng)
}
