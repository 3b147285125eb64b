package quant

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"ringo/data"
	"ringo/export"
	"ringo/runtime/backend"
	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

// Options of a quantization; Default fills in what is usual.
type Options struct {
	Activation tensor.DType     // I8 or U8
	Method     string           // auto (per layer, by measured error) or one of Methods
	Percentile float64          // of the percentile calibration
	Batches    int              // calibration batches
	Rows       int              // samples in each
	Smooth     bool             // SmoothQuant: move outliers of normalised activations into weights, as far as it measurably helps
	GPTQ       bool             // round weights so that the errors of a row make up for one another
	Dynamic    bool             // take activations' ranges from each batch at run time
	KeepFloat  []string         // weights of layers that stay float
	Ranges     map[string]Range // trained ranges of inputs by weight, which are taken as they are; see Trained
	Progress   func(what string, done, total int)
}

// Default returns the options of a plain static export. Activations are u8: ONNX Runtime on x86-64 turns i8 ones into u8
// where it can, and leaves a convolution in float whose input it could not turn, being read twice.
func Default() Options {
	return Options{Activation: tensor.U8, Method: "auto", Percentile: 99.99, Batches: 16, Rows: 16, Smooth: true}
}

// Validate returns one sentence about the first impossible option.
func (o Options) Validate() error {
	switch {
	case o.Activation != tensor.I8 && o.Activation != tensor.U8:
		return fmt.Errorf("int8: activations in %v, expected i8 or u8", o.Activation)
	case o.Method != "auto" && !slices.Contains(Methods(), o.Method):
		return fmt.Errorf("int8: calibration %q: unknown, expected auto or one of %v", o.Method, Methods())
	case !(o.Percentile > 50 && o.Percentile <= 100):
		return fmt.Errorf("int8: percentile %v, expected more than 50 and at most 100", o.Percentile)
	case o.Batches < 1 || o.Rows < 1:
		return fmt.Errorf("int8: %d calibration batches of %d samples: expected at least one of each; without data no range is known", o.Batches, o.Rows)
	}
	return nil
}

func (o Options) progress(what string, done, total int) {
	if o.Progress != nil {
		o.Progress(what, done, total)
	}
}

// Quantize calibrates a float model on samples of ds and returns its integer form. The model's weights are read, not
// changed. Errors are one sentence for the user.
func Quantize(b backend.Backend, inf *export.Inference, ds data.Dataset, o Options) (*Model, error) {
	if err := o.check(ds); err != nil {
		return nil, err
	}
	f := openFloat(b, inf)
	obs, m, err := f.calibrate(ds, o)
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	return m, m.choose(b, obs, o)
}

func (o Options) check(ds data.Dataset) error {
	if err := o.Validate(); err != nil {
		return err
	}
	if ds == nil || ds.Len() == 0 {
		return fmt.Errorf("int8: no calibration data: ranges of activations are measured on samples; name a data set with --set data.path=…")
	}
	return nil
}

// calibrate observes a float model's activations on samples of ds. The model that it returns has SmoothQuant's changes,
// and no ranges yet.
func (f *floatModel) calibrate(ds data.Dataset, o Options) (_ *observations, _ *Model, err error) {
	c, err := newCollector(f, ds, o)
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	m := &Model{Float: f.Inference, Tensors: export.Tensors{}, scaled: map[string]channelScaling{},
		Recipe: &Recipe{Format: recipeFormat, Activation: o.Activation.String(), Layers: c.layers}}
	if err := c.limits(); err != nil {
		return nil, nil, err
	}
	if o.Smooth && len(o.Ranges) == 0 { // trained ranges are those of the norms as they are
		if err := m.smooth(f.device, c.observations, o); err != nil {
			return nil, nil, err
		}
	}
	return c.observations, m, c.count()
}

// choose fixes the ranges of all activations and rounds the weights.
func (m *Model) choose(b backend.Backend, obs *observations, o Options) error {
	var again []*rounder
	for i := range m.Recipe.Layers {
		o.progress("choosing ranges", i, len(m.Recipe.Layers))
		l := &m.Recipe.Layers[i]
		l.Dynamic, l.Float = o.Dynamic, slices.Contains(o.KeepFloat, l.Weight)
		w, err := m.chooseRange(b, l, obs.in[i], obs.nodes[i], o)
		if err != nil {
			return err
		}
		if !l.Integer || l.Float { // what the layer's tensors are does not hang on the range
			w = nil
		}
		again = append(again, w)
		if x := obs.out[i]; x != nil {
			r, err := x.calibrated(fixed(o.Method), o.Percentile)
			if err != nil {
				return err
			}
			l.Out = &r
		}
	}
	o.progress("choosing ranges", len(again), len(again))
	m.widenShared()
	for i, w := range again {
		if w != nil {
			if err := w.quantize(&m.Recipe.Layers[i], o.Activation, m.Tensors); err != nil {
				return err
			}
		}
	}
	return nil
}

// fixed is the calibration of results that are not any layer's input.
func fixed(method string) string {
	if method == "auto" {
		return "minmax"
	}
	return method
}

// chooseRange tries the calibrations that o allows and keeps the one whose integer layer comes closest to the float one.
// The layer's tensors are among the model's then, unless it stays float.
func (m *Model) chooseRange(b backend.Backend, l *Layer, x *observed, n *graph.Node, o Options) (*rounder, error) {
	if r, ok := o.Ranges[l.Weight]; ok && !l.Dynamic {
		x = &observed{histogram: histogram{lo: r.Lo, hi: r.Hi}, sample: x.sample}
		o.Method = "minmax"
		defer func() { l.In.Method = "trained" }()
	}
	candidates := []string{o.Method}
	if o.Method == "auto" {
		candidates = Methods()
	}
	if l.Dynamic {
		candidates = candidates[:1]
	}
	var round func(*tensor.Tensor, int, []float32) (*tensor.Tensor, error)
	if o.GPTQ && !l.Float {
		round = gptq(x.sample, n)
	}
	w, err := newRounder(l, m.weights(), n.In[1].Shape, round)
	if err != nil {
		return nil, err
	}
	at := &bench{device: b, node: n, sample: fewer(x.sample, n), weights: overlay{m.weights(), export.Tensors{l.Weight: w.weight}, nil}}
	if err := at.reference(); err != nil {
		return nil, err
	}
	l.Error = -1
	best, seen := export.Tensors{}, map[Range]bool{}
	for _, method := range candidates {
		if method == "auto" {
			method = "minmax"
		}
		r, err := x.calibrated(method, o.Percentile)
		if err != nil {
			return nil, err
		}
		if key := (Range{Lo: r.Lo, Hi: r.Hi}); seen[key] {
			continue
		} else {
			seen[key] = true
		}
		try, tensors := *l, export.Tensors{}
		try.In, try.Float = r, false
		if err := w.quantize(&try, o.Activation, tensors); err != nil {
			return nil, err
		}
		e, err := at.measured(try, m.Recipe, tensors)
		if err != nil {
			return nil, err
		}
		if l.Error < 0 || e < l.Error {
			l.In, l.Error, best = r, e, tensors
		}
	}
	if !l.Float {
		maps.Copy(m.Tensors, best)
	}
	return w, nil
}

// widenShared gives layers that read one value one range, the widest: a tensor is quantized once.
func (m *Model) widenShared() {
	g, err := m.Float.Build(1, m.Float.MaxSeq)
	if err != nil {
		return // it was built before
	}
	at := places(g, m.Recipe)
	for _, n := range g.Nodes {
		if w := weightOf(n); w != nil {
			if l := m.Recipe.layer(w.Node.Name); l != nil && has(at, n.In[0]) {
				r := at[n.In[0]]
				l.In.Lo, l.In.Hi = r.Lo, r.Hi
			}
		}
	}
}
