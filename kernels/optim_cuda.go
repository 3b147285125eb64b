//go:build cuda

package kernels

import (
	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

// OPTIM_THREADS and NORM_CHUNK of optim.cu.
const (
	optimThreads = 256
	normChunk    = 16384
)

// The attribute structs of optim.cu.
type (
	adamWArgs struct{ Beta1, Beta2, Eps, Decay float32 }
	sgdArgs   struct {
		Momentum, Decay float32
		Nesterov        int32
	}
	lionArgs struct{ Beta1, Beta2, Decay float32 }
)

func init() {
	registerDevice("adamw", func(c *DeviceCall) error {
		a := c.Attrs.(graph.AdamW)
		return deviceUpdate(c, 4, adamWArgs{float32(a.Beta1), float32(a.Beta2), float32(a.Eps), float32(a.WeightDecay)})
	})
	registerDevice("sgd", func(c *DeviceCall) error {
		a := c.Attrs.(graph.SGD)
		args := sgdArgs{Momentum: float32(a.Momentum), Decay: float32(a.WeightDecay)}
		if a.Nesterov {
			args.Nesterov = 1
		}
		return deviceUpdate(c, 3, args)
	})
	registerDevice("lion", func(c *DeviceCall) error {
		a := c.Attrs.(graph.Lion)
		return deviceUpdate(c, 3, lionArgs{float32(a.Beta1), float32(a.Beta2), float32(a.WeightDecay)})
	})
	registerDevice("lerp", deviceLerp)
	registerDevice("grad_norm", deviceGradNorm)
}

// allF32 reports whether every view is f32.
func allF32(views ...DeviceView) bool {
	for _, v := range views {
		if v.DType != tensor.F32 {
			return false
		}
	}
	return true
}

// deviceUpdate launches an optimizer over `states` flat tensors (param, grad and states), hyper and perhaps norm. AdamW takes bf16
// gradients too.
func deviceUpdate(c *DeviceCall, states int, attrs any) error {
	s, ok := suffix(c.In[1].DType)
	if !ok || !allF32(c.In[0]) || !allF32(c.In[2:]...) || s != "_f32" && c.Op != "adamw" {
		return c.Uncovered()
	}
	n := int64(c.In[0].Shape.Size())
	if n == 0 {
		return nil
	}
	var args []any
	for _, v := range c.In[:states+1] {
		args = append(args, v)
	}
	norm := Null
	if len(c.In) > states+1 {
		norm = c.In[states+1].Ptr
	}
	return c.Launch(c.Op+s, c.Strided(ceilDiv(n, 4), optimThreads), Block(optimThreads), 0, append(args, norm, attrs, n)...)
}

func deviceLerp(c *DeviceCall) error {
	a, n := c.Attrs.(graph.Lerp), int64(c.In[0].Shape.Size())
	if !allF32(c.In...) {
		return c.Uncovered()
	}
	if n == 0 {
		return nil
	}
	return c.Launch("lerp_f32", c.Strided(ceilDiv(n, 4), optimThreads), Block(optimThreads), 0,
		c.In[0], c.In[1], float32(1-a.Alpha), float32(a.Alpha*a.Scale), n)
}

func deviceGradNorm(c *DeviceCall) error {
	if !allF32(c.In...) {
		return c.Uncovered()
	}
	n := int64(c.In[0].Shape.Size())
	chunks := ceilDiv(n, normChunk)
	sums := c.Scratch(max(8, chunks*8))
	if n > 0 {
		if err := c.Launch("grad_norm_chunks", Grid(int(chunks)), Block(optimThreads), 0, c.In[0], sums, n); err != nil {
			return err
		}
	}
	limit := float32(c.Attrs.(graph.GradNorm).Max)
	return c.Launch("grad_norm_end", Grid(1), Block(optimThreads), 0, sums, c.In[1], c.Out[0], int32(chunks), limit)
}
