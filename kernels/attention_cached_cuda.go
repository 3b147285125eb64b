//go:build cuda

package kernels

import (
	"ringo/runtime/graph"
)

const (
	cachedThreads = 128 // CACHED_THREADS
	cachedKeys    = 256 // CACHED_KEYS
	// cachedQueries is how many queries at a time make tiles of queries worth while.
	cachedQueries = 8
)

func init() {
	registerDevice("attention_cached", deviceAttentionCached)
	registerDevice("kv_write", deviceKVWrite)
}

// deviceAttentionCached reads the positions on the device: the grid covers the whole cache, and blocks beyond what is seen
// end at once.
func deviceAttentionCached(c *DeviceCall) error {
	a, _ := c.Attrs.(graph.Attention)
	p, err := newAttention(c, a, c.In[:3])
	if err != nil {
		return err
	}
	t, pos := c.In[0].DType, c.In[3]
	p.Y, p.Pos = c.Out[0].Ptr, pos.Ptr
	if pos.Shape.Size() > 1 {
		p.PosEach = 1
	}
	if p.Batch == 0 || p.Queries >= cachedQueries {
		return p.forward(c, t)
	}
	width := 16 / t.Size()
	stretches, rows := ceilDiv(int(p.Keys), cachedKeys), int(p.Batch*p.Queries)
	if rows > maxGridZ {
		return c.Uncovered()
	}
	partial := c.Scratch(int64(rows) * int64(p.Heads) * int64(stretches) * int64(p.Dim+2) * 4)
	s, _ := suffix(t)
	shared := (int(p.Dim)+3)/4*4 + max(cachedThreads*width, int(p.Dim))
	err = c.Launch("attention_stretch"+s, Grid(stretches, int(p.Heads), rows), Block(cachedThreads), shared*4, p, partial, packs(int(p.Dim), width))
	if err != nil {
		return err
	}
	return c.Launch("attention_join"+s, Grid(rows, int(p.Heads)), Block(cachedThreads), 0, p, partial, int32(stretches))
}

// packs is 1 where lines of n elements are whole packs of `width`.
func packs(n, width int) int32 {
	if n%width == 0 {
		return 1
	}
	return 0
}

func deviceKVWrite(c *DeviceCall) error {
	cache, x, pos := c.In[0], c.In[1], c.In[2]
	s, ok := suffix(x.DType)
	if !ok {
		return c.Uncovered()
	}
	c.Queue.Copy(c.Out[0].Ptr, cache.Ptr, int64(cache.Bytes())) // nothing where they are one, as the row says
	batch, keys, rows := cache.Shape[0], cache.Shape[1], x.Shape[1]
	row := cache.Shape[2] * cache.Shape[3]
	if batch*rows*row == 0 {
		return nil
	}
	each := int32(0)
	if pos.Shape.Size() > 1 {
		each = 1
	}
	return c.Launch("kv_write"+s, c.Strided(int64(batch*rows*row), 256), Block(256), 0, c.Out[0], x, pos, each,
		int32(batch), int32(rows), int32(keys), int32(row), packs(row, 16/x.DType.Size()))
}
