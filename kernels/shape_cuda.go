//go:build cuda

package kernels

import (
	"slices"

	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

// TILE and BATCH_AXES of shape.cu.
const (
	transposeTile = 32
	batchAxes     = 6
)

// nestArgs is Broadcast<1>, moveArgs Broadcast<2> of broadcast.cuh.
type (
	nestArgs struct {
		N            int64
		Axes, Packed int32
		Dims         [broadcastAxes]int32
		Strides      [1][broadcastAxes]int64
	}
	moveArgs = broadcastArgs
)

// transposeArgs is Transposed of shape.cu.
type transposeArgs struct {
	Rows, Cols, XStep, YStep int64
	Across, Down             int64
	Axes, Unused             int32
	Dims                     [batchAxes]int32
	X, Y                     [batchAxes]int64
}

func init() {
	registerDevice("reshape", func(c *DeviceCall) error {
		c.Queue.Copy(c.Out[0].Ptr, c.In[0].Ptr, int64(c.Out[0].Bytes()))
		return nil
	})
	registerDevice("broadcast", func(c *DeviceCall) error {
		out := c.Out[0].Shape
		return deviceMove(c, out, broadcastStrides(c.In[0].Shape, out), 0, out.Strides(), 0)
	})
	registerDevice("slice", func(c *DeviceCall) error {
		base, st := sliceStrides(c.Attrs.(graph.Slice), c.In[0].Shape)
		out := c.Out[0].Shape
		return deviceMove(c, out, st, base, out.Strides(), 0)
	})
	registerDevice("slice_grad", func(c *DeviceCall) error {
		a := c.Attrs.(graph.SliceGrad)
		base, st := sliceStrides(a.Slice, a.Shape)
		c.Queue.Fill(c.Out[0].Ptr, 0, int64(c.Out[0].Bytes()))
		return deviceMove(c, c.In[0].Shape, c.In[0].Shape.Strides(), 0, st, base)
	})
	registerDevice("concat", deviceConcat)
	registerDevice("transpose", deviceTranspose)
	registerDevice("fill", func(c *DeviceCall) error {
		return deviceFill(c, c.Out[0], c.Attrs.(graph.Fill).Value)
	})
}

// deviceFill sets every element of y.
func deviceFill(c *DeviceCall, y DeviceView, value float64) error {
	n := int64(y.Bytes())
	if n == 0 {
		return nil
	}
	return c.Launch("fill", c.Strided(ceilDiv(n, 16), wordThreads), Block(wordThreads), 0, y, pattern(y.DType, value), n)
}

// deviceNest describes a collapsed nest with one operand; false where it has too many axes.
func deviceNest(n nest) (p nestArgs, ok bool) {
	p = nestArgs{N: int64(n.size()), Axes: int32(len(n.dims))}
	if !walkable(n) {
		return p, false
	}
	for d, size := range n.dims {
		p.Dims[d], p.Strides[0][d] = int32(size), int64(n.strides[0][d])
	}
	return p, true
}

// deviceMove copies the elements of a nest from input 0 to output 0; strides and bases are in elements.
func deviceMove(c *DeviceCall, dims tensor.Shape, xs []int, xBase int, ys []int, yBase int) error {
	return deviceMoveViews(c, c.In[0], c.Out[0], dims, xs, xBase, ys, yBase)
}

func deviceMoveViews(c *DeviceCall, x, y DeviceView, dims tensor.Shape, xs []int, xBase int, ys []int, yBase int) error {
	if dims.Size() == 0 {
		return nil
	}
	n := nest{slices.Clone([]int(dims)), [][]int{xs, ys}}.collapse()
	if !walkable(n) {
		return c.Uncovered()
	}
	size := int64(x.DType.Size())
	word, last := size, len(n.dims)-1
	if n.strides[0][last] == 1 && n.strides[1][last] == 1 { // runs may move in wider words
		bytes := []int64{int64(n.dims[last]) * size, int64(xBase) * size, int64(yBase) * size}
		for a := range last {
			bytes = append(bytes, int64(n.strides[0][a])*size, int64(n.strides[1][a])*size)
		}
		word = int64(widest(bytes...))
	}
	unit := int(word / size)
	p := moveArgs{N: int64(n.size() / unit), Axes: int32(len(n.dims))}
	for a, d := range n.dims {
		p.Dims[a] = int32(d)
		for o := range p.Strides {
			p.Strides[o][a] = int64(n.strides[o][a] / unit)
		}
	}
	if unit > 1 {
		p.Dims[last] /= int32(unit)
		p.Strides[0][last], p.Strides[1][last] = 1, 1
	}
	return c.Launch(wordKernel("move", int(word)), c.Strided(p.N, wordThreads), Block(wordThreads), 0,
		x.Ptr+uint64(int64(xBase)*size), y.Ptr+uint64(int64(yBase)*size), p)
}

// deviceConcat moves one input after the other to its place.
func deviceConcat(c *DeviceCall) error {
	y, at := c.Out[0], 0
	axis, err := y.Shape.Axis(c.Attrs.(graph.Concat).Axis)
	if err != nil {
		return err
	}
	own := y.Shape.Strides()
	for _, x := range c.In {
		if err := deviceMoveViews(c, x, y, x.Shape, x.Shape.Strides(), 0, own, at*own[axis]); err != nil {
			return err
		}
		at += x.Shape[axis]
	}
	return nil
}

// deviceTranspose moves tiles where neighbours of the output are apart in the input.
func deviceTranspose(c *DeviceCall) error {
	x, y := c.In[0], c.Out[0]
	perm, own := c.Attrs.(graph.Transpose).Perm, x.Shape.Strides()
	st := make([]int, len(perm))
	for i, p := range perm {
		st[i] = own[p]
	}
	if y.Shape.Size() == 0 {
		return nil
	}
	n := nest{slices.Clone([]int(y.Shape)), [][]int{st, y.Shape.Strides()}}.collapse()
	last := len(n.dims) - 1
	row := slices.Index(n.strides[0], 1)
	if row < 0 || row == last || last-1 > batchAxes {
		return deviceMove(c, y.Shape, st, 0, y.Shape.Strides(), 0)
	}
	p := transposeArgs{Rows: int64(n.dims[row]), Cols: int64(n.dims[last]),
		XStep: int64(n.strides[0][last]), YStep: int64(n.strides[1][row])}
	p.Across, p.Down = ceilDiv(p.Cols, transposeTile), ceilDiv(p.Rows, transposeTile)
	blocks := p.Across * p.Down
	for a, d := range n.dims[:last] {
		if a != row {
			p.Dims[p.Axes], p.X[p.Axes], p.Y[p.Axes] = int32(d), int64(n.strides[0][a]), int64(n.strides[1][a])
			p.Axes++
			blocks *= int64(d)
		}
	}
	return c.Launch(wordKernel("transpose", x.DType.Size()), Grid(int(blocks)), Block(wordThreads), 0, x, y, p)
}
