package main

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"ringo/data"
	"ringo/export"
	"ringo/export/onnx"
	"ringo/export/quant"
	"ringo/internal/files"
	"ringo/models"
	"ringo/runtime/backend"
	"ringo/runtime/tensor"
	"ringo/train"
	"ringo/train/config"
	"ringo/train/metrics"
)

// int8Format is the name of ringo's own int8 model; runKey the metadata in which it carries the run's configuration.
const (
	int8Format = "ringo"
	runKey     = "ringo.run"
)

// int8Flags belong to an integer export; the gate compares it with the float model before anything is written.
type int8Flags struct {
	Int8               bool     `name:"int8" help:"Quantize to int8, as onnx or ringo: calibrate, compare with float on the validation set, write only what passes."`
	MaxDrop            *float64 `placeholder:"X" help:"Most that may be lost: points of accuracy (0.5 unless given) or percent of perplexity (1)."`
	Force              bool     `help:"Write the model even if it loses more."`
	KeepFloat          string   `placeholder:"auto|LAYER,…" help:"Layers that stay in float, by weight; auto keeps the worst until the model passes."`
	Calibrate          string   `default:"auto" placeholder:"METHOD" help:"minmax, percentile, mse or entropy; auto chooses per layer by measured error."`
	CalibrationBatches int      `default:"16" placeholder:"N" help:"Batches of training data to calibrate on."`
	Activations        string   `default:"u8" enum:"i8,u8" help:"Type of activations: u8 or i8."`
	NoSmooth           bool     `help:"Leave SmoothQuant out."`
	GPTQ               bool     `name:"gptq" help:"Round weights so that the errors of a row make up for one another."`
	Dynamic            bool     `help:"Take the range of every activation from each batch at run time."`
	Batches            *int     `placeholder:"N" help:"Validation batches of the gate, 0 being all; unless given all, of a language model so many as hold 8,192 tokens."`
	Set                []string `sep:"none" placeholder:"data.k=v" help:"Override a key of the run's configuration, such as data.path."`
	deviceFlags
}

func (f int8Flags) options() quant.Options {
	o := quant.Default()
	o.Method, o.Batches, o.GPTQ, o.Dynamic, o.Smooth = f.Calibrate, f.CalibrationBatches, f.GPTQ, f.Dynamic, !f.NoSmooth
	if f.Activations == "i8" {
		o.Activation = tensor.I8
	}
	if f.KeepFloat != "" && f.KeepFloat != "auto" {
		o.KeepFloat = strings.Split(f.KeepFloat, ",")
	}
	return o
}

func (c *exportCmd) exportInt8(e *env, begin time.Time) (err error) {
	if c.Format != "onnx" && c.Format != int8Format {
		return usage{fmt.Errorf("--int8 --format %s: expected onnx or ringo; a gguf is quantized with --dtype q8_0", c.Format)}
	}
	debug.SetGCPercent(20) // the heap is tensors: garbage costs memory, marking costs nothing
	o := c.options()
	if err := o.Validate(); err != nil {
		return usage{err}
	}
	if err := c.check(); err != nil {
		return err
	}
	if c.Batches != nil {
		if err := natural("--batches", *c.Batches); err != nil {
			return err
		}
	}
	if d := c.MaxDrop; d != nil && !(*d >= 0) {
		return usage{fmt.Errorf("--max-drop %g: expected 0 or more", *d)}
	}
	s, saved, closeSource, err := openSource(c.Checkpoint)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeSource()) }()
	run, learn, valid, err := c.dataOf(saved)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, data.Close(learn), data.Close(valid)) }()
	b, err := c.integers()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	inf, err := s.Inference()
	if err != nil {
		return err
	}
	if o.Ranges, err = quant.Trained(s.Model, s); err != nil {
		return err
	}
	if err := c.knownLayers(inf, o.KeepFloat); err != nil {
		return err
	}
	gate := c.gate(s.Model)
	if s.Model.Language() {
		o.Rows = 8
	}
	o.Progress = progressTo(e.err)
	m, report, err := quant.Checked(b, inf, learn, valid, o, gate)
	var refused *quant.Refused
	if err != nil && !errors.As(err, &refused) {
		return err
	}
	report.Model, report.Step, report.SHA256 = s.Model.Name, s.Step, s.SHA256
	fmt.Fprint(e.out, report.Table())
	if refused != nil && !c.Force {
		return refused
	}
	return c.writeInt8(e, s, m, report, run, begin)
}

// gateTokens is how many tokens of validation text judge a language model; evalBytes bounds the logits of a batch.
const (
	gateTokens = 8192
	evalBytes  = 128 << 20
)

func (f int8Flags) gate(m *models.Model) quant.Gate {
	g := quant.Gate{MaxDrop: quant.DefaultMaxDrop(m.Language()), KeepAuto: f.KeepFloat == "auto", Rows: 64}
	if f.MaxDrop != nil {
		g.MaxDrop = *f.MaxDrop
	}
	if m.Language() {
		g.Rows = max(1, min(evalRows, 4096/m.Context, evalBytes/(4*m.Vocab*m.Context)))
		g.Batches = (gateTokens + g.Rows*m.Context - 1) / (g.Rows * m.Context)
	}
	if f.Batches != nil {
		g.Batches = *f.Batches
	}
	return g
}

// dataOf opens the data sets of the run that the checkpoint is from; run is its configuration.
func (c *exportCmd) dataOf(saved *train.Saved) (run string, learn, valid data.Dataset, err error) {
	if saved == nil {
		return "", nil, nil, fmt.Errorf("int8: no calibration data: ranges of activations are measured on the samples of a run's data set, and %s is a folder of Hugging Face's, which names none; train it with ringo first", c.Checkpoint)
	}
	cfg, err := config.Parse("the checkpoint's configuration", []byte(saved.State.Config), nil, c.Set)
	if err != nil {
		return "", nil, nil, err
	}
	learn, valid, err = cfg.OpenData()
	if err != nil {
		return "", nil, nil, fmt.Errorf("int8: no calibration data: %w", err)
	}
	return saved.State.Config, learn, valid, nil
}

// knownLayers refuses names that are no layer's.
func (c *exportCmd) knownLayers(inf *export.Inference, keep []string) error {
	names, err := quant.LayerNames(inf)
	if err != nil {
		return err
	}
	for _, k := range keep {
		if !slices.Contains(names, k) {
			return usage{fmt.Errorf("--keep-float %s: no such layer, expected auto or some of %s", k, strings.Join(names, ", "))}
		}
	}
	return nil
}

// writeInt8 writes the model with its report and plot, all or nothing.
func (c *exportCmd) writeInt8(e *env, s *export.Source, m *quant.Model, report *quant.Report, run string, begin time.Time) error {
	dir, name := filepath.Split(filepath.Clean(c.Out))
	meta := s.Metadata()
	meta[runKey] = run
	var part files.Part
	if c.Format == int8Format {
		var err error
		if part, err = m.Part(name, meta); err != nil {
			return err
		}
	} else {
		f, err := onnx.Encode(onnx.Model{Name: s.Model.Name, Inference: m.Inference(), Metadata: meta})
		if err != nil {
			return err
		}
		part = files.Part{Name: name, Write: func(w io.Writer) error { _, err := f.WriteTo(w); return err }}
	}
	if err := files.Write(files.OS{}, filepath.Clean(dir), append(report.Parts(), part)...); err != nil {
		return err
	}
	size, err := sizeOf(c.Out)
	if err != nil {
		return err
	}
	fmt.Fprintf(e.out, "\nwrote %s as int8 %s, %s bytes; report.json and report.png beside it; %s\n", c.Out, c.Format, metrics.Group(float64(size)), spent(begin))
	return nil
}

// progressTo says on w what is being done, at most every two seconds.
func progressTo(w io.Writer) func(what string, done, total int) {
	var said time.Time
	last := ""
	return func(what string, done, total int) {
		if what == last && (time.Since(said) < 2*time.Second || done == total) {
			return
		}
		last, said = what, time.Now()
		fmt.Fprintf(w, "%s %d/%d\n", what, done, total)
	}
}

// integers opens the device of integer models: auto is the CPU, whose kernels they have.
func (d deviceFlags) integers() (backend.Backend, error) {
	if d.Device == "auto" {
		d.Device = "cpu"
	}
	return backend.Open(d.Device, backend.Options{Threads: d.Threads})
}

// evalInt8 scores ringo's own int8 model.
func (c *evalCmd) evalInt8(e *env) (err error) {
	f, err := quant.Open(c.Checkpoint)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	cfg, err := config.Parse(c.Checkpoint, []byte(f.Metadata[runKey]), nil, c.Set)
	if err != nil {
		return err
	}
	learn, valid, err := cfg.OpenData()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, data.Close(learn), data.Close(valid)) }()
	b, err := c.integers()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	s, err := quant.Evaluate(b, f.Quantized.Inference(), valid, evalRows, c.Batches, nil)
	if err != nil {
		return err
	}
	return c.print(e, f.Model.Name+" in int8", f.Metadata["ringo.step"], f.Metadata["ringo.model_sha256"], s)
}

// generateInt8 lets ringo's own int8 model write text.
func (c *generateCmd) generateInt8(e *env, how train.Sampling, emit func(string) error) (err error) {
	f, err := quant.Open(c.Checkpoint)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if f.Tokenizer == nil {
		return fmt.Errorf("%s: model %s has no tokenizer, so it writes no text", c.Checkpoint, f.Model.Name)
	}
	b, err := c.integers()
	if err != nil {
		return err
	}
	exec, err := f.Generator(b)
	if err != nil {
		return errors.Join(err, b.Close())
	}
	g := train.GeneratorOf(exec, f.Model)
	return errors.Join(g.Write(f.Tokenizer, c.Prompt, c.Tokens, how, emit), g.Close(), b.Close())
}
