//go:build cuda

package kernels

import "ringo/runtime/tensor"

// whereArgs is Broadcast<3> of broadcast.cuh.
type whereArgs struct {
	N            int64
	Axes, Packed int32
	Dims         [broadcastAxes]int32
	Strides      [3][broadcastAxes]int64
}

func init() {
	for op := range compareRefs {
		registerDevice(op, func(c *DeviceCall) error { return deviceCompare(c, op) })
	}
	for op := range logicRefs {
		registerDevice(op, func(c *DeviceCall) error { return deviceCompare(c, op) })
	}
	registerDevice("pow", func(c *DeviceCall) error {
		a, b := castNames[c.In[0].DType], castNames[c.In[1].DType]
		if b == "_bf16" && (a == "_i32" || a == "_i64") || !powType(c.In[0].DType) || !powType(c.In[1].DType) {
			return c.Uncovered()
		}
		return deviceWalk(c, "pow"+a+b)
	})
	registerDevice("where", deviceWhere)
}

func powType(d tensor.DType) bool {
	return d == tensor.F32 || d == tensor.BF16 || d == tensor.I32 || d == tensor.I64
}

// deviceCompare takes Bool as bytes.
func deviceCompare(c *DeviceCall, op string) error {
	s := castNames[c.In[0].DType]
	if s == "_bool" {
		s = "_u8"
	}
	if s == "" {
		return c.Uncovered()
	}
	return deviceWalk(c, op+s)
}

// deviceWalk launches a kernel that walks the output one element per thread, over two inputs.
func deviceWalk(c *DeviceCall, kernel string) error {
	y := c.Out[0]
	p, fits := deviceBroadcast(y.Shape, c.In[0], c.In[1], y.DType.Size())
	if !fits {
		return c.Uncovered()
	}
	if p.N == 0 {
		return nil
	}
	return c.Launch(kernel, c.Strided(p.N, wordThreads), Block(wordThreads), 0, c.In[0], c.In[1], y, p)
}

func deviceWhere(c *DeviceCall) error {
	y := c.Out[0]
	n := broadcastNest(y.Shape, View{Type: c.In[0].Type}, View{Type: c.In[1].Type}, View{Type: c.In[2].Type})
	p := whereArgs{N: int64(y.Shape.Size()), Axes: int32(len(n.dims))}
	if !walkable(n) {
		return c.Uncovered()
	}
	if p.N == 0 {
		return nil
	}
	for d, size := range n.dims {
		p.Dims[d] = int32(size)
		for o := range p.Strides {
			p.Strides[o][d] = int64(n.strides[o+1][d])
		}
	}
	return c.Launch(wordKernel("where", y.DType.Size()), c.Strided(p.N, wordThreads), Block(wordThreads), 0, c.In[0], c.In[1], c.In[2], y, p)
}
