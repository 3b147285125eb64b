//go:build cuda

package kernels

import (
	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

// unaryThreads is UNARY_THREADS of unary.cu.
const unaryThreads = 256

func init() {
	for op := range unaryRefs {
		registerDevice(op, func(c *DeviceCall) error { return deviceUnary(c, op, 0, 0) })
	}
	registerDevice("gelu", func(c *DeviceCall) error {
		if a, _ := c.Attrs.(graph.Gelu); a.Tanh {
			return deviceUnary(c, "gelu_tanh", 0, 0)
		}
		return deviceUnary(c, "gelu", 0, 0)
	})
	registerDevice("clip", func(c *DeviceCall) error {
		a := c.Attrs.(graph.Clip)
		return deviceUnary(c, "clip", float32(a.Lo), float32(a.Hi))
	})
	registerDevice("copy", func(c *DeviceCall) error {
		c.Queue.Copy(c.Out[0].Ptr, c.In[0].Ptr, int64(c.Out[0].Bytes()))
		return nil
	})
}

// deviceUnary launches y = f(x; p, q), one thread per 16 bytes.
func deviceUnary(c *DeviceCall, kernel string, p, q float32) error {
	x, y := c.In[0], c.Out[0]
	s, ok := suffix(x.DType)
	if x.DType == tensor.I32 && unaryInts[c.Op] != nil {
		s, ok = "_i32", true
	}
	if !ok {
		return c.Uncovered()
	}
	n := int64(x.Shape.Size())
	packs := ceilDiv(n*int64(x.DType.Size()), 16)
	return c.Launch(kernel+s, c.Strided(packs, unaryThreads), Block(unaryThreads), 0, x, y, n, p, q)
}
