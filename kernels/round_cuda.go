//go:build cuda

package kernels

import "ringo/runtime/graph"

// ROUND_THREADS and ROUND_BLOCK of round.cu.
const roundThreads, roundBlock = 256, 8

func init() {
	registerDevice("round_stochastic", func(c *DeviceCall) error {
		n := int64(c.In[0].Shape.Size())
		if n == 0 {
			return nil
		}
		return c.Launch("round_stochastic", c.Strided(ceilDiv(n, roundBlock), roundThreads), Block(roundThreads), 0,
			c.In[0], c.In[1], c.Out[0], n, c.Attrs.(graph.RoundStochastic).Key)
	})
}
