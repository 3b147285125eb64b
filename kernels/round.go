package kernels

import (
	"math"

	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

func init() { register("round_stochastic", refRoundStochastic) }

// refRoundStochastic: the upper 16 bits of bits(x) + r, with 16 random bits r; infinities and NaN stay. Element i has half
// i%8, the lower half of a word first, of Philox block i/8, whose key and counter the op's row defines.
func refRoundStochastic(c *Call) {
	rng := tensor.View[int64](c.In[1].Bytes)
	seed, step, key := uint64(rng[0]), uint32(rng[1]), c.Attrs.(graph.RoundStochastic).Key
	p := tensor.Philox{Key: [2]uint32{uint32(seed), uint32(seed >> 32)}}
	out := make([]float64, c.In[0].Shape.Size())
	for i, v := range c.In[0].Load() {
		p.Counter = [4]uint32{uint32(i / 8), graph.NoLane, step, key}
		noise := p.Block()[i%8/2] >> (16 * (i % 2)) & 0xffff
		x := float32(v)
		if !math.IsInf(v, 0) && v == v {
			x = math.Float32frombits((math.Float32bits(x) + noise) &^ 0xffff)
		}
		out[i] = float64(x)
	}
	c.Out[0].Store(out)
}
