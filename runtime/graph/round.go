package graph

import (
	"fmt"

	"ringo/runtime/tensor"
)

// RNG is the name of the input I64 (3) = seed, step, lane that random ops read.
const RNG = "rng"

// NoLane stands for the lane where a random number is the same in all of them.
const NoLane = ^uint32(0)

// RoundStochastic is the attribute struct of "round_stochastic".
type RoundStochastic struct {
	Key uint32 // tells the tensors of one model apart
}

func roundStochasticInfer(n *Node) ([]Type, error) {
	x, rng := n.In[0], n.In[1]
	switch {
	case x.DType != tensor.F32:
		return nil, fmt.Errorf("x is %v, expected f32", x.Type)
	case rng.DType != tensor.I64 || rng.Shape.Size() != 3:
		return nil, fmt.Errorf("rng is %v, expected i64(3): seed, step, lane", rng.Type)
	case x.Shape.Size() > 1<<35:
		return nil, fmt.Errorf("x is %v, more than the 2^35 elements that one counter word numbers", x.Type)
	}
	return []Type{{tensor.BF16, x.Shape}}, nil
}

func init() {
	rng := SampleIn{Shape: tensor.Shape{3}, DType: tensor.I64, Max: 1 << 20}
	var samples []Sample
	for i, size := range []int{1, 7, 17, 65, 1032} {
		samples = append(samples, Sample{In: []SampleIn{In(size).Statistic(), rng}, Attrs: RoundStochastic{uint32(i)}, NoGrad: true})
	}
	register(
		// x, rng I64[3] = (seed, step, lane) → y bf16, one of x's two neighbours, each with the probability that makes y's mean x
		// (Gupta et al., "Deep Learning with Limited Numerical Precision", 2015): the upper 16 bits of bits(x) + r, with 16
		// random bits r. Infinities and NaN stay.
		//
		// Philox4x32-10 with key (seed low 32 bits, seed high 32 bits) and counter words (block, NoLane, step low 32 bits,
		// Key). Element i uses 16-bit half i%8, the lower half of a word first, of block i/8. The lane is left out: all lanes
		// of a step round alike. The gradient passes as if nothing was rounded.
		Op{Name: "round_stochastic", MinIn: 2, Infer: roundStochasticInfer, FLOPs: noFLOPs, Samples: samples,
			VJP: func(g *Graph, n *Node, dy []*Value) []*Value {
				return []*Value{g.Cast(dy[0], tensor.F32), nil}
			}},
	)
}
