package quant

import (
	"errors"
	"fmt"
	"runtime/debug"
	"slices"

	"ringo/data"
	"ringo/export"
	"ringo/runtime/backend"
	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

// Gate says how much a quantized model may lose.
type Gate struct {
	MaxDrop  float64 // points of accuracy, or percent of perplexity
	KeepAuto bool    // keep the layers with the largest error in float until the model passes
	Batches  int     // validation batches; 0 is all
	Rows     int     // samples in each
}

// DefaultMaxDrop is half a point of accuracy, or one percent of perplexity.
func DefaultMaxDrop(language bool) float64 {
	if language {
		return 1
	}
	return 0.5
}

// Report is what the gate measured; it is written beside the model.
type Report struct {
	Model       string  `json:"model"`
	Step        int     `json:"step"`
	SHA256      string  `json:"model_sha256,omitempty"`
	Float       Score   `json:"float"`
	Int8        Score   `json:"int8"`
	FloatBytes  int64   `json:"float_weight_bytes"`
	Int8Bytes   int64   `json:"int8_weight_bytes"`
	Drop        float64 `json:"drop"`                // in Unit; negative where the integer model is better
	Deviation   float64 `json:"drop_standard_error"` // of Drop, from the spread over batches
	Unit        string  `json:"unit"`
	MaxDrop     float64 `json:"max_drop"`
	Passed      bool    `json:"passed"`
	Method      string  `json:"calibration"`
	Activations string  `json:"activations"`
	Smooth      bool    `json:"smooth"`
	GPTQ        bool    `json:"gptq"`
	Dynamic     bool    `json:"dynamic"`
	Device      string  `json:"device"`
	Layers      []Layer `json:"layers"`
}

// Refused says that a quantized model lost more than the gate allows.
type Refused struct{ Report *Report }

func (e *Refused) Error() string {
	r := e.Report
	return fmt.Sprintf("int8: the model loses %.3g %s, at most %.3g are allowed: nothing was written; calibrate on more data, keep layers in float (--keep-float auto), train with train.qat, or write it all the same with --force",
		r.Drop, r.Unit, r.MaxDrop)
}

// Checked quantizes a model and measures both forms on the validation set. Where the integer form loses too much the
// error is *Refused, and model and report are there all the same.
func Checked(b backend.Backend, inf *export.Inference, learn, valid data.Dataset, o Options, g Gate) (*Model, *Report, error) {
	if valid == nil || valid.Len() == 0 {
		return nil, nil, errors.New("int8: no validation data: the gate compares float and int8 on it; name a data set with --set data.test=…")
	}
	if err := o.check(learn); err != nil {
		return nil, nil, err
	}
	r := &Report{MaxDrop: g.MaxDrop, Method: o.Method, Activations: o.Activation.String(), Smooth: o.Smooth, GPTQ: o.GPTQ, Dynamic: o.Dynamic, Device: b.Describe()}
	said := func(what string) func(done, total int) {
		return func(done, total int) { o.progress(what, done, total) }
	}
	f := openFloat(b, inf) // its weights leave memory before the integer model is made
	score, err := evaluate(inf, valid, g.Rows, g.Batches, said("evaluating float"), func(g *graph.Graph) (*program, error) { return f.compile(g) })
	var obs *observations
	var m *Model
	if err == nil {
		obs, m, err = f.calibrate(learn, o)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, nil, err
	}
	if err := m.choose(b, obs, o); err != nil {
		return nil, nil, err
	}
	debug.FreeOSMemory() // what was read to round weights leaves before packed ones come
	for r.Float = score; ; {
		if r.Int8, err = Evaluate(b, m.Inference(), valid, g.Rows, g.Batches, said("evaluating int8")); err != nil {
			return nil, nil, err
		}
		r.judge(inf.MaxSeq > 0)
		if r.Passed || !g.KeepAuto || !m.Recipe.keepWorst() {
			break
		}
	}
	r.Layers = slices.Clone(m.Recipe.Layers)
	if r.FloatBytes, err = Bytes(inf); err == nil {
		r.Int8Bytes, err = Bytes(m.Inference())
	}
	if err != nil {
		return nil, nil, err
	}
	if !r.Passed {
		return m, r, &Refused{r}
	}
	return m, r, nil
}

func (r *Report) judge(language bool) {
	mean, deviation := r.Float.difference(r.Int8)
	r.Drop, r.Deviation, r.Unit = 100*mean, 100*deviation, "points of accuracy"
	if language {
		r.Drop, r.Unit = 100*(r.Int8.Perplexity/r.Float.Perplexity-1), "% of perplexity"
	}
	r.Passed = r.Drop <= r.MaxDrop
}

// keepWorst keeps the integer layer of the largest error in float; false where none is left.
func (r *Recipe) keepWorst() bool {
	worst := -1
	for i, l := range r.Layers {
		if !l.Float && (worst < 0 || l.Error > r.Layers[worst].Error) {
			worst = i
		}
	}
	if worst >= 0 {
		r.Layers[worst].Float = true
	}
	return worst >= 0
}

// Bytes is the size of all that an inference form reads: parameters, running statistics, scales.
func Bytes(inf *export.Inference) (n int64, err error) {
	g, err := inf.Build(1, inf.MaxSeq)
	if err != nil {
		return 0, err
	}
	for _, v := range slices.Concat(g.Params, g.States) {
		n += int64(v.Type.Bytes())
	}
	for _, v := range g.Nodes {
		if v.Op.Name == "const" && v.Out[0].DType == tensor.F32 {
			n += int64(v.Out[0].Type.Bytes())
		}
	}
	return n, nil
}
