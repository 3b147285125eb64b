package quant

import (
	"errors"
	"fmt"
	"math"

	"ringo/data"
	"ringo/export"
	"ringo/runtime/backend"
	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

// sampleRows bounds the rows of a layer's input that are kept to measure its error with.
const sampleRows = 1024

// batchTokens bounds the tokens of one calibration batch: the inputs of all layers are in memory together.
const batchTokens = 2048

// batch is the number of samples in a calibration batch.
func (o Options) batch(inf *export.Inference, ds data.Dataset) int {
	rows := min(o.Rows, ds.Len())
	if inf.MaxSeq > 0 {
		rows = min(rows, max(1, batchTokens/inf.MaxSeq))
	}
	return rows
}

// observed is what calibration saw of one activation.
type observed struct {
	histogram
	channels []float64      // largest magnitude along the last axis, of matrix products' inputs
	sample   *tensor.Tensor // the values of one batch
}

// observations are by layer: its input, and its result behind its relu where a convolution gives one.
type observations struct {
	layers []Layer
	in     []*observed
	out    []*observed // nil where the result is not quantized for itself
}

// collect runs the float model over calibration batches, twice: for the limits, then for the distributions.
func collect(b backend.Backend, inf *export.Inference, ds data.Dataset, o Options) (*observations, error) {
	rows := o.batch(inf, ds)
	batches, err := data.NewBatches(ds, rows)
	if err != nil {
		return nil, err
	}
	g, err := inf.Build(rows, inf.MaxSeq)
	if err != nil {
		return nil, err
	}
	obs := &observations{}
	var nodes []*graph.Node
	obs.layers, nodes = findLayers(g)
	if len(obs.layers) == 0 {
		return nil, fmt.Errorf("int8: the model has no matrix product or convolution with a weight, so there is nothing to quantize")
	}
	read := readers(g)
	g.Outputs = nil
	for i, n := range nodes {
		g.Output(fmt.Sprint("in", i), n.In[0])
		obs.in, obs.out = append(obs.in, newObserved()), append(obs.out, nil)
		if n.Op.Name == "conv2d" {
			obs.out[i] = newObserved()
			g.Output(fmt.Sprint("out", i), behindRelu(read, n.Out[0]))
		}
	}
	p, err := compile(b, g, inf.Weights, "in-place")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	take := min(o.Batches, batches.Len())
	for pass := range 2 {
		for i := range take {
			o.progress("calibrating", pass*take+i, 2*take)
			fields, valid, err := batches.Read(i * batches.Len() / take)
			if err != nil {
				return nil, err
			}
			if err := p.feed(fieldNames(batches), fields); err != nil {
				return nil, err
			}
			if err := p.run(); err != nil {
				return nil, err
			}
			if err := obs.add(p, pass, valid, rows); err != nil {
				return nil, err
			}
		}
	}
	o.progress("calibrating", 2*take, 2*take)
	return obs, err
}

func fieldNames(b *data.Batches) (out []string) {
	for _, f := range b.Fields() {
		out = append(out, f.Name)
	}
	return out
}

func newObserved() *observed {
	return &observed{histogram: histogram{lo: math.Inf(1), hi: math.Inf(-1)}}
}

// add takes the outputs of one batch, of which the first valid rows are samples.
func (o *observations) add(p *program, pass, valid, rows int) error {
	for i := range o.layers {
		for name, x := range map[string]*observed{fmt.Sprint("in", i): o.in[i], fmt.Sprint("out", i): o.out[i]} {
			if x == nil {
				continue
			}
			t, err := p.fetch(name)
			if err != nil {
				return err
			}
			v := tensor.Data[float32](t)
			if rows > 0 && t.Shape.Size()%rows == 0 {
				v = v[:len(v)/rows*valid]
			}
			if err := x.see(v, t, pass, o.layers[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

// most bounds the values of one batch that a histogram counts.
const most = 1 << 20

func (x *observed) see(v []float32, t *tensor.Tensor, pass int, l Layer) error {
	if pass == 1 {
		x.histogram.add(v, 1+len(v)/most)
		return nil
	}
	for _, f := range v {
		if f-f != 0 {
			return fmt.Errorf("int8: layer %q meets %v on calibration data: the model is broken; export an earlier checkpoint", l.Weight, f)
		}
		x.lo, x.hi = min(x.lo, float64(f)), max(x.hi, float64(f))
	}
	if l.Op == "matmul" {
		k := t.Shape[len(t.Shape)-1]
		if x.channels == nil {
			x.channels = make([]float64, k)
		}
		for i, f := range v {
			x.channels[i%k] = max(x.channels[i%k], math.Abs(float64(f)))
		}
	}
	if x.sample == nil {
		x.sample = someRows(t)
	}
	return nil
}

// someRows keeps whole samples of t, as many as give about sampleRows rows of a matrix or pixels of an image.
func someRows(t *tensor.Tensor) *tensor.Tensor {
	per := 1
	switch len(t.Shape) {
	case 3:
		per = t.Shape[1]
	case 4:
		per = t.Shape[2] * t.Shape[3]
	}
	shape := t.Shape.Clone()
	shape[0] = min(shape[0], max(1, sampleRows/per))
	out := tensor.New(t.DType, shape...)
	copy(out.Bytes(), t.Bytes())
	return out
}
