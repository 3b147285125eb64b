package kernels

import (
	"math"

	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

func init() { register("dropout", refDropout) }

// refDropout: y = x/(1−P) where Unit(word) ≥ P, else 0; element i has word i%4 of Philox block i/4, whose key and
// counter the op's row defines.
func refDropout(c *Call) {
	a := c.Attrs.(graph.Dropout)
	x := c.In[0].Load()
	rng := tensor.View[int64](c.In[1].Bytes)
	seed, step, lane := uint64(rng[0]), uint32(rng[1]), uint32(rng[2])
	p := tensor.Philox{Key: [2]uint32{uint32(seed), uint32(seed >> 32)}}
	for i := range x {
		p.Counter = [4]uint32{uint32(i / 4), lane, step, a.Key}
		if float64(tensor.Unit(p.Block()[i%4])) >= a.P {
			x[i] /= 1 - a.P
		} else {
			x[i] = 0
		}
	}
	c.Out[0].Store(x)
}

// dropoutThreshold returns t such that Unit(word) ≥ p exactly where word>>8 ≥ t.
func dropoutThreshold(p float64) uint32 { return uint32(math.Ceil(p * (1 << 24))) }
