//go:build cuda

package kernels

import "ringo/runtime/graph"

// ropeThreads is ROPE_THREADS of rope.cu.
const ropeThreads = 256

func init() { registerDevice("rope", deviceRope) }

// deviceRope makes the table of angles, one row per position, then turns x.
func deviceRope(c *DeviceCall) error {
	x, r := c.In[0], c.Attrs.(graph.Rope)
	s, ok := suffix(x.DType)
	if !ok {
		return c.Uncovered()
	}
	b, t, turn, all, dim, err := r.Sizes(x.Shape)
	if err != nil || b*t*all*dim == 0 {
		return err
	}
	rows, pos, single, sign, interleaved := t, Null, int32(0), float32(1), int32(0)
	if len(c.In) > 1 {
		pos = c.In[1].Ptr
		if len(c.In[1].Shape) == 0 {
			single = 1
		} else {
			rows = b * t
		}
	}
	if r.Inverse {
		sign = -1
	}
	if r.Interleaved {
		interleaved = 1
	}
	half := dim / 2
	turns := c.Scratch(int64(rows*half) * 8)
	if err := c.Launch("rope_turns", c.Strided(int64(rows*half), ropeThreads), Block(ropeThreads), 0,
		pos, turns, int64(rows), int32(t), int32(half), float32(r.Period()), single, sign); err != nil {
		return err
	}
	return c.Launch("rope"+s, c.Strided(int64(b*t*all*half), ropeThreads), Block(ropeThreads), 0,
		x, turns, c.Out[0], int64(b*t), int64(rows), int32(turn), int32(all), int32(half), interleaved)
}
