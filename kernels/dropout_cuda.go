//go:build cuda

package kernels

import "ringo/runtime/graph"

// dropoutThreads is DROPOUT_THREADS of dropout.cu.
const dropoutThreads = 256

func init() {
	registerDevice("dropout", func(c *DeviceCall) error {
		a, x := c.Attrs.(graph.Dropout), c.In[0]
		s, ok := suffix(x.DType)
		if !ok {
			return c.Uncovered()
		}
		n := int64(x.Shape.Size())
		if n == 0 {
			return nil
		}
		return c.Launch("dropout"+s, c.Strided(ceilDiv(n, 4), dropoutThreads), Block(dropoutThreads), 0,
			x, c.In[1], c.Out[0], n, a.Key, dropoutThreshold(a.P), float32(1/(1-a.P)))
	})
}
