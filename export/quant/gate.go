package quant

import (
	"errors"
	"fmt"
	"slices"

	"ringo/data"
	"ringo/export"
	"ringo/runtime/backend"
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
	Drop        float64 `json:"drop"` // in Unit; negative where the integer model is better
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
	evaluate := func(what string, inf *export.Inference) (Score, error) {
		return Evaluate(b, inf, valid, g.Rows, g.Batches, func(done, total int) { o.progress(what, done, total) })
	}
	m, err := Quantize(b, inf, learn, o)
	if err != nil {
		return nil, nil, err
	}
	r := &Report{MaxDrop: g.MaxDrop, Method: o.Method, Activations: m.Recipe.Activation, Smooth: o.Smooth, GPTQ: o.GPTQ, Dynamic: o.Dynamic, Device: b.Describe()}
	if r.Float, err = evaluate("evaluating float", inf); err != nil {
		return nil, nil, err
	}
	for {
		if r.Int8, err = evaluate("evaluating int8", m.Inference()); err != nil {
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
	r.Drop, r.Unit = 100*(r.Float.Accuracy-r.Int8.Accuracy), "points of accuracy"
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
