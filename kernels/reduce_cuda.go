//go:build cuda

package kernels

import (
	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

// reduceThreads is REDUCE_THREADS of reduce.cu.
const reduceThreads = 256

// reductionArgs is Reduction of reduce.cu.
type reductionArgs struct {
	Kept, Reduced      nestArgs
	Stretch, Stretches int64
}

func init() {
	for op := range reduceRefs {
		registerDevice(op, deviceReduce)
	}
	registerDevice("prod_grad", deviceProdGrad)
}

// reduceNests splits the axes of x into those that stay and those that go. rows: the last axis goes.
func reduceNests(c *DeviceCall) (p reductionArgs, rows, ok bool) {
	shape := c.In[0].Shape
	reduced, err := c.Attrs.(graph.Reduce).Reduced(shape)
	if err != nil {
		panic("kernels: " + err.Error()) // the row's Infer has checked it
	}
	own, kept, gone := shape.Strides(), nest{strides: make([][]int, 1)}, nest{strides: make([][]int, 1)}
	for a, d := range shape {
		to := &kept
		if reduced[a] {
			to = &gone
		}
		to.dims, to.strides[0] = append(to.dims, d), append(to.strides[0], own[a])
		if d > 1 {
			rows = reduced[a]
		}
	}
	var keptFits, goneFits bool
	p.Kept, keptFits = deviceNest(kept.collapse())
	p.Reduced, goneFits = deviceNest(gone.collapse())
	return p, rows, keptFits && goneFits
}

// columns says that what goes are whole rows of a matrix, so that sums run down its columns.
func (p *reductionArgs) columns() bool {
	k, r := &p.Kept, &p.Reduced
	return k.Axes == 1 && r.Axes == 1 && k.Strides[0][0] == 1 && r.Strides[0][0] == k.N && max(k.N, r.N) < 1<<31
}

// deviceReduce makes partial results over stretches, whose length depends on the shape alone, then joins them.
func deviceReduce(c *DeviceCall) error {
	x, y, op := c.In[0], c.Out[0], c.Op
	s, ok := suffix(x.DType)
	size := int64(4)
	switch x.DType {
	case tensor.I32:
		s, ok, size = "_i32", true, 8
	case tensor.I64:
		s, ok, size = "_i64", true, 8
	}
	p, rows, fits := reduceNests(c)
	if !ok || !fits {
		return c.Uncovered()
	}
	kept, gone, count := p.Kept.N, p.Reduced.N, int64(-1)
	if kept == 0 {
		return nil
	}
	if op == "mean" {
		op, count = "sum", gone
	}
	if op == "sum" && size == 4 && p.columns() && gone > 0 {
		return columnSums(c, x, y, int(gone), int(kept), float32(max(1, count)))
	}
	kernel, lanes, stretch := "reduce_cols_", int64(1), max(64, ceilDiv(gone, 256))
	if rows {
		kernel, lanes, stretch = "reduce_rows_", 32, max(1024, ceilDiv(gone, 1024))
	}
	p.Stretch, p.Stretches = stretch, max(1, ceilDiv(gone, stretch))
	part := c.Scratch(size * kept * p.Stretches)
	if err := c.Launch(kernel+op+s, Grid(int(ceilDiv(kept*p.Stretches*lanes, reduceThreads))), Block(reduceThreads), 0, x, part, p); err != nil {
		return err
	}
	return c.Launch("reduce_end_"+op+s, Grid(int(ceilDiv(kept*32, reduceThreads))), Block(reduceThreads), 0, part, y, kept, p.Stretches, count)
}

func deviceProdGrad(c *DeviceCall) error {
	x := c.In[0]
	s, ok := suffix(x.DType)
	p, _, fits := reduceNests(c)
	if !ok || !fits {
		return c.Uncovered()
	}
	n := int64(x.Shape.Size())
	if n == 0 {
		return nil
	}
	return c.Launch("prod_grad"+s, c.Strided(p.Kept.N, reduceThreads), Block(reduceThreads), 0, x, c.In[1], c.Out[0], c.Scratch(4*n), p)
}
