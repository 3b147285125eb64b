//go:build cuda

package kernels

import "ringo/runtime/graph"

// activationThreads is ACTIVATION_THREADS of activation.cu.
const activationThreads = 256

func init() {
	registerDevice("relu_grad", func(c *DeviceCall) error { return deviceActivationGrad(c, "relu_grad") })
	registerDevice("silu_grad", func(c *DeviceCall) error { return deviceActivationGrad(c, "silu_grad") })
	registerDevice("gelu_grad", func(c *DeviceCall) error {
		if a, _ := c.Attrs.(graph.Gelu); a.Tanh {
			return deviceActivationGrad(c, "gelu_tanh_grad")
		}
		return deviceActivationGrad(c, "gelu_grad")
	})
	registerDevice("swiglu", func(c *DeviceCall) error { return deviceSwiglu(c, c.Out[0], c.In[0], c.Out[0]) })
	registerDevice("swiglu_grad", func(c *DeviceCall) error { return deviceSwiglu(c, c.In[1], c.In[0], c.In[1], c.Out[0]) })
}

func deviceActivationGrad(c *DeviceCall, kernel string) error {
	x, dy := c.In[0], c.In[1]
	s, ok := suffix(x.DType)
	if !ok || dy.DType != x.DType {
		return c.Uncovered()
	}
	n := int64(x.Shape.Size())
	if n == 0 {
		return nil
	}
	return c.Launch(kernel+s, c.Strided(ceilDiv(n*int64(x.DType.Size()), 16), activationThreads), Block(activationThreads), 0, x, dy, c.Out[0], n)
}

// deviceSwiglu launches swiglu or its gradient; half has the shape of one half of x.
func deviceSwiglu(c *DeviceCall, half DeviceView, views ...DeviceView) error {
	s, ok := suffix(half.DType)
	if !ok || c.In[0].DType != half.DType {
		return c.Uncovered()
	}
	n, f := half.Shape.Size(), half.Shape[len(half.Shape)-1]
	if n == 0 {
		return nil
	}
	var args []any
	for _, v := range views {
		args = append(args, v)
	}
	items := int64(n)
	if width := 16 / half.DType.Size(); f%width == 0 {
		items /= int64(width)
	}
	return c.Launch(c.Op+s, c.Strided(items, activationThreads), Block(activationThreads), 0, append(args, int64(n/f), int64(f))...)
}
