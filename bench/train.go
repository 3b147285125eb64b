package bench

import (
	"fmt"
	"math"
	"slices"
	"time"

	"ringo/kernels"
	"ringo/models"
	"ringo/runtime"
	"ringo/runtime/backend"
	"ringo/runtime/graph"
	"ringo/runtime/plan"
	"ringo/runtime/tensor"
	"ringo/train"
)

// Config says how jobs run.
type Config struct {
	Device  string // empty means the job's own
	DType   string // "fp32" or "bf16"; empty means the job's own
	Threads int    // 0 means one per CPU
	Steps   int    // timed steps; 0 means as many as take about Budget, at least 5
	Budget  time.Duration
}

// DefaultConfig times a job where and how it is meant to run, for about six seconds.
func DefaultConfig() Config {
	return Config{Budget: 6 * time.Second}
}

// of fills in what the job says.
func (c Config) of(j Job) Config {
	if c.Device == "" {
		c.Device = j.Device()
	}
	if c.DType == "" {
		c.DType = j.DType()
	}
	return c
}

// Validate names the first field that cannot be.
func (c Config) Validate() error {
	if c.DType != "" && c.DType != "fp32" && c.DType != "bf16" {
		return fmt.Errorf("dtype %q: expected fp32 or bf16", c.DType)
	}
	if c.Steps < 0 || c.Threads < 0 {
		return fmt.Errorf("steps %d, threads %d: expected 0 (automatic) or more", c.Steps, c.Threads)
	}
	return nil
}

// Precision is DType as the planner writes it.
func (c Config) Precision() tensor.DType {
	if c.DType == "bf16" {
		return tensor.BF16
	}
	return tensor.F32
}

// Result is one line of `ringo bench --json`. Times are of whole training steps, in milliseconds.
type Result struct {
	Job       string  `json:"job"`
	Device    string  `json:"device"`
	DType     string  `json:"dtype"`
	Threads   int     `json:"threads"`
	Steps     int     `json:"steps"`
	MS        float64 `json:"ms"` // median
	MinMS     float64 `json:"min_ms"`
	MaxMS     float64 `json:"max_ms"`
	Tokens    float64 `json:"tokens_per_s,omitempty"`
	Samples   float64 `json:"samples_per_s"`
	GFLOPS    float64 `json:"gflops"`
	PeakShare float64 `json:"peak_share"` // of the GEMM peak measured in the same process
	PeakRSS   int64   `json:"peak_rss_bytes"`
	OnDevice  int64   `json:"device_bytes,omitempty"` // of the program, where the device has memory of its own
	Loss      float64 `json:"loss"`                   // after the last step, to see that it computed something
}

// Run times one job.
func Run(job Job, c Config) (Result, error) {
	c = c.of(job)
	w, err := prepare(job, c)
	if err != nil {
		return Result{}, err
	}
	defer w.close()
	times, err := w.measure(c)
	if err != nil {
		return Result{}, err
	}
	loss, err := w.step.Mean(models.Loss)
	if err != nil {
		return Result{}, err
	}
	rss := train.PeakRSS() // before the peak measurement, which needs memory of its own
	p := w.exec.Program()
	median := times[len(times)/2].Seconds()
	flops := float64(p.Totals().FLOPs)
	r := Result{Job: job.Name, Device: c.Device, DType: c.DType, Threads: kernels.Threads(), Steps: len(times),
		MS: median * 1e3, MinMS: times[0].Seconds() * 1e3, MaxMS: times[len(times)-1].Seconds() * 1e3,
		Samples: float64(job.Batch) / median, GFLOPS: flops / median / 1e9, PeakRSS: rss, Loss: float64(loss)}
	if w.model.Language() {
		r.Tokens = r.Samples * float64(job.Model.Context)
	}
	if w.device.Name() == "cpu" {
		r.PeakShare = r.GFLOPS / kernels.Peak(c.Precision())
		return r, nil
	}
	r.OnDevice = p.ArenaBytes()
	peak, err := devicePeak(w.device, c.Precision())
	r.PeakShare = r.GFLOPS / peak
	return r, err
}

// workload is a job bound to a device.
type workload struct {
	device backend.Backend
	model  *models.Model
	store  backend.Store
	exec   backend.Executable
	step   *runtime.Step
	n      int
}

func prepare(job Job, c Config) (*workload, error) {
	c = c.of(job)
	if err := c.Validate(); err != nil {
		return nil, err
	}
	b, err := backend.Open(c.Device, backend.Options{Threads: c.Threads})
	if err != nil {
		return nil, err
	}
	w := &workload{device: b, store: b.NewStore()}
	if w.model, err = models.New(job.Model); err != nil {
		return nil, err
	}
	var built error
	w.exec, err = runtime.Compile(b, w.store, func(g *graph.Graph) { built = w.model.Loss(g, job.Batch, true) },
		plan.Options{Precision: c.Precision(), Training: &plan.Training{Rule: adamW}})
	if err == nil {
		err = built
	}
	if err != nil {
		return nil, err
	}
	if err := runtime.Init(w.store, w.exec.Program(), 1337); err != nil {
		return nil, err
	}
	if w.step, err = runtime.NewStep(w.exec); err != nil {
		return nil, err
	}
	return w, w.feed(job)
}

// adamW is the update of every job: β 0.9 and 0.95, weight decay 0.1 on matrices.
func adamW(p graph.Leaf) plan.Update {
	a := graph.AdamW{Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, WeightDecay: 0.1}
	if p.NoDecay {
		a.WeightDecay = 0
	}
	return plan.Update{Op: "adamw", Attrs: a, Slots: []string{"m", "v"}}
}

// feed fills every input with synthetic data: normal pixels, uniform tokens and labels.
func (w *workload) feed(job Job) error {
	rng := tensor.NewPhilox(1, 0)
	for name, ref := range w.exec.Program().Inputs {
		t := tensor.New(ref.Type.DType, ref.Type.Shape...)
		limit := job.Model.Vocab
		switch name {
		case models.Labels:
			limit = job.Model.Classes
		case plan.Hyper, models.RNG:
			continue
		}
		if ref.Type.DType == tensor.F32 {
			rng.FillNormal(tensor.Data[float32](t), 0, 1)
		} else {
			for i := range tensor.Data[int32](t) {
				tensor.Data[int32](t)[i] = int32(rng.Next()[0] % uint32(limit))
			}
		}
		if err := w.exec.Feed(name, t.Bytes()); err != nil {
			return err
		}
	}
	return nil
}

func (w *workload) one(int) error { return nil }

// run takes one step and waits for it; its inputs stay the same.
func (w *workload) run() error {
	w.n++
	b1, b2 := math.Pow(0.9, float64(w.n)), math.Pow(0.95, float64(w.n))
	if err := w.step.Begin(3e-4, 1-b1, 1-b2); err != nil {
		return err
	}
	if err := w.step.Lanes(0, 1, w.one, nil); err != nil {
		return err
	}
	if err := w.step.Update(); err != nil {
		return err
	}
	_, err := w.step.Mean(models.Loss)
	return err
}

// measure warms up, then times steps; it returns them sorted.
func (w *workload) measure(c Config) ([]time.Duration, error) {
	const warmup = 3
	var times []time.Duration
	steps := c.Steps
	for i := 0; i < warmup+max(steps, 1); i++ {
		start := time.Now()
		if err := w.run(); err != nil {
			return nil, err
		}
		d := time.Since(start)
		if i == warmup && steps == 0 {
			steps = min(max(5, int(c.Budget/max(d, 1))), 2000)
		}
		if i >= warmup {
			times = append(times, d)
		}
	}
	slices.Sort(times)
	return times, nil
}

func (w *workload) close() {
	_ = w.exec.Close()
	_ = w.store.Close()
}
