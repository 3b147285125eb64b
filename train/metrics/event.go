// Package metrics owns what a run says about itself: the events of metrics.jsonl and --json, the progress
// display, TensorBoard event files and the plot of the loss. It must not know how a run computes anything.
package metrics

import (
	"math"
	"strconv"
)

// Event is one line of metrics.jsonl. AppendJSON appends the object without a line end and allocates
// nothing but what dst lacks; numbers that JSON cannot hold (NaN, ±Inf) become null.
type Event interface {
	AppendJSON(dst []byte) []byte
}

// Step reports one optimizer step.
type Step struct {
	Step     int
	Loss     float64 // mean over the step's samples, before the update
	LR       float64
	GradNorm float64 // before clipping; NaN where it is not computed
	StepMS   float64 // mean wall time per step since the last event
	Rate     float64 // units per second since the last event
	Unit     string  // "tokens" or "samples"
	GPU      *GPU    // nil where no GPU trains, or it has no sensors
}

// GPU is what a GPU's sensors said at a step event; NaN, or 0 bytes, where one said nothing.
type GPU struct {
	Busy         float64 // part of the time that a kernel ran
	MemoryBytes  int64   // in use, by all processes
	PowerW       float64
	TemperatureC float64
}

// Eval reports an evaluation on the validation set.
type Eval struct {
	Step       int
	ValLoss    float64
	Accuracy   float64 // part of right answers; NaN where the model does not classify
	Perplexity float64 // e^loss; NaN where the model is no language model
	Best       bool    // the lowest loss so far
}

// View reports a change of membership.
type View struct {
	Epoch, Workers int
	Reason         string
	Step           int
	RecoveryMS     float64
}

// Checkpoint reports a checkpoint that is complete on disk.
type Checkpoint struct {
	Step int
	Path string
}

// Start opens a run, or goes on with it.
type Start struct {
	Step, Steps int
	Model       string
	Params      int
	Device      string
	Precision   string
	Data        string
}

// Sample is text that the trained model wrote.
type Sample struct {
	Step int
	Text string
}

// Done closes a run.
type Done struct {
	Step         int
	ValLoss      float64 // NaN where nothing was evaluated
	Accuracy     float64 // NaN where the model does not classify
	ModelSHA256  string
	WallS        float64
	PeakRSSBytes int64
	Reason       string // "finished", "early stop" or "interrupted"
	BestStep     int    // whose checkpoint is kept as the best; 0 where none is
	BestLoss     float64
}

// object builds one JSON object.
type object struct {
	b     []byte
	empty bool
}

func begin(dst []byte, event string) object {
	o := object{append(dst, '{'), true}
	o.text("event", event)
	return o
}

func (o *object) key(k string) {
	if !o.empty {
		o.b = append(o.b, ',')
	}
	o.empty = false
	o.b = append(o.b, '"')
	o.b = append(o.b, k...)
	o.b = append(o.b, '"', ':')
}

func (o *object) int(k string, v int64) { o.key(k); o.b = strconv.AppendInt(o.b, v, 10) }

// float writes the shortest text that reads back as the same float64, or null.
func (o *object) float(k string, v float64) {
	o.key(k)
	if math.IsNaN(v) || math.IsInf(v, 0) {
		o.b = append(o.b, "null"...)
		return
	}
	o.b = strconv.AppendFloat(o.b, v, 'g', -1, 64)
}

// round writes v to so many significant digits: times and rates need no more.
func (o *object) round(k string, v float64, digits int) {
	o.key(k)
	if math.IsNaN(v) || math.IsInf(v, 0) {
		o.b = append(o.b, "null"...)
		return
	}
	at := len(o.b)
	o.b = strconv.AppendFloat(o.b, v, 'e', digits-1, 64)
	r, err := strconv.ParseFloat(string(o.b[at:]), 64) // the compiler keeps this string off the heap
	if err == nil {
		o.b = strconv.AppendFloat(o.b[:at], r, 'f', -1, 64)
	}
}

func (o *object) bool(k string, v bool) { o.key(k); o.b = strconv.AppendBool(o.b, v) }

// text writes a JSON string, RFC 8259 section 7; invalid UTF-8 becomes U+FFFD.
func (o *object) text(k, v string) {
	const hex = "0123456789abcdef"
	o.key(k)
	o.b = append(o.b, '"')
	for _, r := range v {
		switch {
		case r == '"' || r == '\\':
			o.b = append(o.b, '\\', byte(r))
		case r == '\n':
			o.b = append(o.b, '\\', 'n')
		case r < 0x20:
			o.b = append(o.b, '\\', 'u', '0', '0', hex[r>>4], hex[r&15])
		default:
			o.b = append(o.b, string(r)...)
		}
	}
	o.b = append(o.b, '"')
}

func (o *object) end() []byte { return append(o.b, '}') }

// AppendJSON writes {"event":"step",…}.
func (e *Step) AppendJSON(dst []byte) []byte {
	o := begin(dst, "step")
	o.int("step", int64(e.Step))
	o.float("loss", e.Loss)
	o.round("lr", e.LR, 6)
	if !math.IsNaN(e.GradNorm) {
		o.round("grad_norm", e.GradNorm, 6)
	}
	o.round("step_ms", e.StepMS, 4)
	o.key2(e.Unit, "_per_s", e.Rate)
	if g := e.GPU; g != nil {
		o.round("gpu_busy", g.Busy, 3)
		o.int("gpu_memory_bytes", g.MemoryBytes)
		o.round("gpu_power_w", g.PowerW, 4)
		o.round("gpu_temperature_c", g.TemperatureC, 3)
	}
	return o.end()
}

// key2 writes a number under the key a+b without joining them first.
func (o *object) key2(a, b string, v float64) {
	o.b = append(o.b, ',', '"')
	o.b = append(append(o.b, a...), b...)
	o.b = append(o.b, '"', ':')
	o.b = strconv.AppendInt(o.b, int64(math.Round(v)), 10)
}

// AppendJSON writes {"event":"eval",…}.
func (e *Eval) AppendJSON(dst []byte) []byte {
	o := begin(dst, "eval")
	o.int("step", int64(e.Step))
	o.float("val_loss", e.ValLoss)
	if !math.IsNaN(e.Accuracy) {
		o.float("accuracy", e.Accuracy)
	}
	if !math.IsNaN(e.Perplexity) {
		o.round("perplexity", e.Perplexity, 6)
	}
	o.bool("best", e.Best)
	return o.end()
}

// AppendJSON writes {"event":"view",…}.
func (e *View) AppendJSON(dst []byte) []byte {
	o := begin(dst, "view")
	o.int("epoch", int64(e.Epoch))
	o.int("workers", int64(e.Workers))
	o.text("reason", e.Reason)
	o.int("step", int64(e.Step))
	o.round("recovery_ms", e.RecoveryMS, 4)
	return o.end()
}

// AppendJSON writes {"event":"checkpoint",…}.
func (e *Checkpoint) AppendJSON(dst []byte) []byte {
	o := begin(dst, "checkpoint")
	o.int("step", int64(e.Step))
	o.text("path", e.Path)
	return o.end()
}

// AppendJSON writes {"event":"start",…}.
func (e *Start) AppendJSON(dst []byte) []byte {
	o := begin(dst, "start")
	o.int("step", int64(e.Step))
	o.int("steps", int64(e.Steps))
	o.text("model", e.Model)
	o.int("params", int64(e.Params))
	o.text("device", e.Device)
	o.text("precision", e.Precision)
	o.text("data", e.Data)
	return o.end()
}

// AppendJSON writes {"event":"sample",…}.
func (e *Sample) AppendJSON(dst []byte) []byte {
	o := begin(dst, "sample")
	o.int("step", int64(e.Step))
	o.text("text", e.Text)
	return o.end()
}

// AppendJSON writes {"event":"done",…}.
func (e *Done) AppendJSON(dst []byte) []byte {
	o := begin(dst, "done")
	o.int("step", int64(e.Step))
	if !math.IsNaN(e.ValLoss) {
		o.float("val_loss", e.ValLoss)
	}
	if !math.IsNaN(e.Accuracy) {
		o.float("accuracy", e.Accuracy)
	}
	o.text("model_sha256", e.ModelSHA256)
	o.round("wall_s", e.WallS, 4)
	o.int("peak_rss_bytes", e.PeakRSSBytes)
	o.text("reason", e.Reason)
	if e.BestStep > 0 {
		o.int("best_step", int64(e.BestStep))
		o.float("best_val_loss", e.BestLoss)
	}
	return o.end()
}
