//go:build cuda

package kernels

import (
	"math"

	"ringo/runtime/tensor"
)

const (
	binaryThreads = 256 // BINARY_THREADS of elementwise.cu
	broadcastAxes = 8   // BROADCAST_AXES of broadcast.cuh
)

// broadcastArgs is Broadcast<2> of broadcast.cuh.
type broadcastArgs struct {
	N            int64
	Axes, Packed int32
	Dims         [broadcastAxes]int32
	Strides      [2][broadcastAxes]int64
}

func init() {
	for op := range binaryRefs {
		registerDevice(op, func(c *DeviceCall) error { return deviceBinary(c, op) })
	}
}

// deviceBroadcast describes the loop over out and two inputs that stretch to it; rows of whole packs of `size`-byte elements
// are moved 16 bytes at a time. It is false for a nest of too many axes.
func deviceBroadcast(out tensor.Shape, a, b DeviceView, size int) (broadcastArgs, bool) {
	n := broadcastNest(out, View{Type: a.Type}, View{Type: b.Type})
	p := broadcastArgs{N: int64(out.Size()), Axes: int32(len(n.dims))}
	if !walkable(n) {
		return p, false
	}
	for d, size := range n.dims {
		p.Dims[d] = int32(size)
		for o := range p.Strides {
			p.Strides[o][d] = int64(n.strides[o+1][d])
		}
	}
	// One axis ends in a tail of single elements; rows of more axes must not straddle packs.
	if len(n.dims) == 1 || n.dims[len(n.dims)-1]%(16/size) == 0 {
		p.Packed = 1
	}
	return p, true
}

// walkable reports whether kernels can walk a nest: they divide by the sizes of all axes but the first, in 32 bits.
func walkable(n nest) bool {
	for _, d := range n.dims[min(1, len(n.dims)):] {
		if d > math.MaxInt32 {
			return false
		}
	}
	return len(n.dims) <= broadcastAxes
}

// deviceBinary launches y = f(a, b), one thread per 16 bytes.
func deviceBinary(c *DeviceCall, kernel string) error {
	a, b, y := c.In[0], c.In[1], c.Out[0]
	s, ok := suffix(y.DType)
	switch y.DType {
	case tensor.I32:
		s, ok = "_i32", true
	case tensor.I64:
		s, ok = "_i64", true
	}
	p, fits := deviceBroadcast(y.Shape, a, b, y.DType.Size())
	if !ok || !fits {
		return c.Uncovered()
	}
	if p.N == 0 {
		return nil
	}
	items := p.N
	if p.Packed == 1 {
		items = ceilDiv(items*int64(y.DType.Size()), 16)
	}
	return c.Launch(kernel+s, c.Strided(items, binaryThreads), Block(binaryThreads), 0, a, b, y, p)
}
