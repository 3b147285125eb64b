//go:build cuda

package kernels

import "ringo/runtime/graph"

// SORT_THREADS and SEGMENT of index_grad.cu, and the most chunks that ids are cut into.
const (
	sortThreads  = 1024
	sortChunks   = 64
	indexSegment = 64
)

func init() {
	registerDevice("embedding_grad", func(c *DeviceCall) error {
		s := c.Out[0].Shape
		return deviceIndexGrad(c, 1, s[0], s[1], 0)
	})
	registerDevice("gather_grad", func(c *DeviceCall) error {
		a := c.Attrs.(graph.GatherGrad)
		outer, n, inner := lines(a.Shape, a.Axis)
		return deviceIndexGrad(c, outer, n, inner, 1)
	})
}

// deviceIndexGrad lists the places of every index in order, adds the slices of dy by segments of that list, then row by row of dx.
func deviceIndexGrad(c *DeviceCall, outer, n, inner, wrap int) error {
	dy, ids, dx := c.In[0], c.In[1], c.Out[0]
	s, ok := suffix(dy.DType)
	if !ok || dx.DType != dy.DType {
		return c.Uncovered()
	}
	if dx.Bytes() == 0 {
		return nil
	}
	start, places, owners, err := deviceSortIndex(c, ids, n, wrap)
	if err != nil {
		return err
	}
	runs := outer * inner
	if width := 16 / dy.DType.Size(); inner%width == 0 {
		s, runs = "_packs"+s, runs/width
	}
	block, segments := Block(min(wordThreads, ceilDiv(runs, 32)*32)), ids.Shape.Size()/indexSegment
	partial := c.Scratch(max(4, 4*int64(segments)*int64(outer)*int64(inner)))
	sizes := []any{int64(outer), int64(ids.Shape.Size()), int64(n), int64(inner)}
	if segments > 0 {
		err := c.Launch("index_segments"+s, Grid(segments), block, 0, append([]any{dy, start, places, owners, partial}, sizes...)...)
		if err != nil {
			return err
		}
	}
	return c.Launch("index_add"+s, Grid(n), block, 0, append([]any{dy, start, places, partial, dx}, sizes...)...)
}

// deviceSortIndex returns where, in places, the positions of each of n indices start; places lists them in order, and owners the
// index of each.
func deviceSortIndex(c *DeviceCall, ids DeviceView, n, wrap int) (start, places, owners uint64, err error) {
	count := ids.Shape.Size()
	chunk := sortThreads * ceilDiv(max(count, 1), sortThreads*sortChunks)
	chunks := ceilDiv(count, chunk)
	counts, total := c.Scratch(max(4, 4*int64(chunks)*int64(n))), c.Scratch(4*int64(n))
	start, places, owners = c.Scratch(4*int64(n+1)), c.Scratch(max(4, 4*int64(count))), c.Scratch(max(4, 4*int64(count)))
	s := indexSuffix(ids.DType)
	k, rows, size := int32(count), int32(n), int32(chunk)
	if count > 0 {
		c.Queue.Fill(counts, 0, 4*int64(chunks)*int64(n))
		if err = c.Launch("index_count"+s, c.Strided(int64(count), wordThreads), Block(wordThreads), 0, ids, counts, k, rows, size, int32(wrap)); err != nil {
			return 0, 0, 0, err
		}
	}
	if err = c.Launch("index_chunks", c.Strided(int64(n), wordThreads), Block(wordThreads), 0, counts, total, rows, int32(chunks)); err != nil {
		return 0, 0, 0, err
	}
	if err = c.Launch("index_starts", Grid(1), Block(sortThreads), 0, total, start, rows); err != nil || count == 0 {
		return start, places, owners, err
	}
	err = c.Launch("index_place"+s, Grid(chunks), Block(sortThreads), 0, ids, start, counts, places, owners, k, rows, size, int32(wrap))
	return start, places, owners, err
}
