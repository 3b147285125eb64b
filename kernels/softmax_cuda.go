//go:build cuda

package kernels

import "ringo/runtime/graph"

const softmaxThreads = 256 // SOFTMAX_THREADS of softmax.cuh

// lineArgs is Line of softmax.cu: n elements, inner apart.
type lineArgs struct {
	N     int32
	_     int32
	Inner int64
}

func init() {
	for _, op := range []string{"softmax", "softmax_grad", "log_softmax", "log_softmax_grad"} {
		registerDevice(op, deviceSoftmax)
	}
}

// rowThreads is the block for a row: whole warps, no more than most.
func rowThreads(cols, most int) Dim3 { return Block(min(most, ceilDiv(max(cols, 1), 32)*32)) }

// deviceSoftmax launches the op's kernel over lines along the attribute's axis.
func deviceSoftmax(c *DeviceCall) error {
	s, ok := suffix(c.In[0].DType)
	if !ok {
		return c.Uncovered()
	}
	outer, n, inner := lines(c.In[0].Shape, c.Attrs.(graph.Softmax).Axis)
	if outer*n*inner == 0 {
		return nil
	}
	var args []any
	for _, v := range c.In {
		args = append(args, v)
	}
	args = append(args, c.Out[0])
	if inner == 1 {
		return c.Launch(c.Op+"_rows"+s, Grid(outer), rowThreads(n, softmaxThreads), 0, append(args, int32(n))...)
	}
	count := int64(outer) * int64(inner)
	return c.Launch(c.Op+"_lines"+s, c.Strided(count, softmaxThreads), Block(softmaxThreads), 0,
		append(args, lineArgs{N: int32(n), Inner: int64(inner)}, count)...)
}
