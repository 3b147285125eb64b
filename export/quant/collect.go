package quant

import (
	"errors"
	"fmt"
	"runtime"
	"sync"

	"ringo/data"
	"ringo/export"
	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

// batchTokens bounds the tokens of one calibration batch: the inputs of all layers are in memory together.
const batchTokens = 512

// batch is the number of samples in a calibration batch.
func (o Options) batch(inf *export.Inference, ds data.Dataset) int {
	rows := min(o.Rows, ds.Len())
	if inf.MaxSeq > 0 {
		rows = min(rows, max(1, batchTokens/inf.MaxSeq))
	}
	return rows
}

// observations are by layer: its input, and its result behind its relu where a convolution gives one.
type observations struct {
	layers []Layer
	nodes  []*graph.Node
	in     []*observed
	out    []*observed // nil where the result is not quantized for itself
}

// collector runs the float model over calibration batches, twice: limits takes the limits of all activations, count
// then their distributions between them.
type collector struct {
	*observations
	p       *program
	batches *data.Batches
	rows    int
	take    int // batches, evenly spread over the data
	done    int
	o       Options
	buffers chan []byte
}

func newCollector(f *floatModel, ds data.Dataset, o Options) (*collector, error) {
	c := &collector{observations: &observations{}, rows: o.batch(f.Inference, ds), o: o}
	var err error
	if c.batches, err = data.NewBatches(ds, c.rows); err != nil {
		return nil, err
	}
	c.take = min(o.Batches, c.batches.Len())
	g, err := f.Build(c.rows, f.MaxSeq)
	if err != nil {
		return nil, err
	}
	c.layers, c.nodes = findLayers(g)
	if len(c.layers) == 0 {
		return nil, fmt.Errorf("int8: the model has no matrix product or convolution with a weight, so there is nothing to quantize")
	}
	read := readers(g)
	g.Outputs = nil
	for i, n := range c.nodes {
		g.Output(fmt.Sprint("in", i), n.In[0])
		c.in, c.out = append(c.in, newObserved(o)), append(c.out, nil)
		if n.Op.Name == "conv2d" {
			c.out[i] = newObserved(o)
			g.Output(fmt.Sprint("out", i), behindRelu(read, n.Out[0]))
		}
	}
	if c.p, err = f.compile(g, "in-place"); err != nil {
		return nil, err
	}
	c.buffers = make(chan []byte, runtime.GOMAXPROCS(0))
	for range cap(c.buffers) {
		c.buffers <- nil
	}
	return c, nil
}

func (c *collector) Close() error { return c.p.Close() }

func (c *collector) limits() error {
	return c.each(func(x *observed, v []float32, t *tensor.Tensor, l Layer) error { return x.limit(v, t, l) })
}

func (c *collector) count() error {
	return c.each(func(x *observed, v []float32, _ *tensor.Tensor, _ Layer) error {
		x.add(v)
		return nil
	})
}

// each runs the model on every batch and calls see with the values that it gave every observed activation.
func (c *collector) each(see func(x *observed, v []float32, t *tensor.Tensor, l Layer) error) error {
	names := fieldNames(c.batches)
	for i := range c.take {
		c.o.progress("calibrating", c.done, 2*c.take)
		c.done++
		fields, valid, err := c.batches.Read(i * c.batches.Len() / c.take)
		if err != nil {
			return err
		}
		if err := c.p.feed(names, fields); err != nil {
			return err
		}
		if err := c.p.run(); err != nil {
			return err
		}
		if err := c.outputs(valid, see); err != nil {
			return err
		}
	}
	c.o.progress("calibrating", c.done, 2*c.take)
	return nil
}

// outputs shows one batch's activations, of which the first valid rows are samples. The device is read by one
// goroutine, as it must be; what it gave is looked at by as many as there are CPUs.
func (c *collector) outputs(valid int, see func(x *observed, v []float32, t *tensor.Tensor, l Layer) error) error {
	var wait sync.WaitGroup
	failed := make([]error, 2*len(c.layers))
	for i := range failed {
		l, x, name := c.layers[i/2], c.in[i/2], fmt.Sprint("in", i/2)
		if i%2 == 1 {
			x, name = c.out[i/2], fmt.Sprint("out", i/2)
		}
		if x == nil {
			continue
		}
		t, buffer, err := c.fetch(name, <-c.buffers)
		if err != nil {
			failed[i] = err
			c.buffers <- buffer
			break
		}
		wait.Go(func() {
			v := tensor.Data[float32](t)
			if t.Shape.Size()%c.rows == 0 {
				v = v[:len(v)/c.rows*valid]
			}
			failed[i] = see(x, v, t, l)
			c.buffers <- buffer
		})
	}
	wait.Wait()
	return errors.Join(failed...)
}

// fetch reads an output into a buffer that it makes larger where it must.
func (c *collector) fetch(name string, buffer []byte) (*tensor.Tensor, []byte, error) {
	r, ok := c.p.Program().Outputs[name]
	if !ok {
		return nil, buffer, fmt.Errorf("int8: the program has no output %q", name)
	}
	n := r.Type.Bytes()
	if len(buffer) < n {
		buffer = tensor.AlignedBytes(n)
	}
	t, err := tensor.FromBytes(r.Type.DType, r.Type.Shape, buffer[:n:n])
	if err != nil {
		return nil, buffer, err
	}
	return t, buffer, c.p.Fetch(name, t.Bytes())
}

func fieldNames(b *data.Batches) (out []string) {
	for _, f := range b.Fields() {
		out = append(out, f.Name)
	}
	return out
}
