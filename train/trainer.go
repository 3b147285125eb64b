// Package train owns the training loop: optimizers, schedules, evaluation, checkpoints, resuming, text
// generation. It drives programs of the runtime with batches of the data room and must not know how either
// is made. A run is a pure function of its configuration, its data and the step it starts at: one thread or
// many, one run or a stopped and resumed one, the weights have the same bits.
package train

import (
	"errors"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"time"

	"ringo/data"
	"ringo/internal/files"
	"ringo/models"
	"ringo/runtime"
	"ringo/runtime/backend"
	"ringo/runtime/plan"
	"ringo/runtime/tensor"
	"ringo/train/checkpoint"
	"ringo/train/config"
	"ringo/train/metrics"
)

// Options says where a run happens and where it leaves what it makes.
type Options struct {
	Out     string       // the run's folder; empty keeps nothing on disk
	Device  string       // as backend.Open; empty means auto
	Threads int          // 0: what the configuration says
	Log     *metrics.Log // events; nil for none
	Now     func() time.Time
	// Reference runs every op's plain version; Disable names planner passes to leave out. For tests.
	Reference bool
	Disable   []string
	FS        files.FS // nil is the operating system's
	// Collective says how the workers' gradients are summed: by their devices (nccl), over the group's connections (ring), or
	// by devices where all can (auto, the default).
	Collective string
	// Team makes the run one worker's part in a job; nil trains in this process alone.
	Team Team
}

// Trainer is one run in progress. It is not safe for concurrent use.
type Trainer struct {
	cfg   *config.Config
	o     Options
	Model *models.Model

	train, valid data.Dataset
	loader       *data.Loader
	names        []string // of the loader's fields, which are the program's inputs

	device  backend.Backend
	store   backend.Store
	exec    backend.Executable
	prog    *plan.Program
	stepper *runtime.Step
	eval    *evaluator
	feed    func(lane int) error
	onReady func(b plan.Bucket) error // ready, bound once
	rng     []byte                    // I64 (3): seed, step, lane; nil where the model draws nothing
	saver   *checkpoint.Store
	behind  *saving     // the checkpoint on its way to the disk; nil for none
	copies  [2]inMemory // what its files of tensors hold

	crew      *crew   // the run's part in a job; nil alone
	unread    *source // the tensors of the state are still there, to be read by all workers together; else nil
	hash      string
	steps     int    // of the whole run
	step      int    // done so far
	stepEpoch uint64 // the view in which the last step was done
	state     State
	begin     time.Time
	started   bool // the start event is out

	score  Score // of the last evaluation
	scored int   // the step it was made after; −1 before the first
	paused int   // the last step whose evaluation and checkpoint are done
}

// New opens the data, builds and plans the model, binds it to the device and gives the weights their first
// values. Errors are one sentence for the user.
func New(cfg *config.Config, o Options) (_ *Trainer, err error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = metrics.NewLog()
	}
	t := &Trainer{cfg: cfg, o: o, begin: o.Now(), scored: -1}
	defer func() {
		if err != nil {
			err = errors.Join(err, t.Close())
		}
	}()
	if t.train, t.valid, err = cfg.OpenData(); err != nil {
		return nil, err
	}
	if t.Model, err = fit(cfg.Model, t.train); err != nil {
		return nil, cfg.Locate(err)
	}
	t.Model.QAT = cfg.Train.QAT
	threads := o.Threads
	if threads == 0 {
		threads = cfg.Train.Threads
	}
	of := backend.Options{Threads: threads, Reference: o.Reference}
	if o.Team != nil {
		of.Memory = o.Team.Memory
	}
	if t.device, err = backend.Open(o.Device, of); err != nil {
		return nil, err
	}
	if err := t.compile(); err != nil {
		return nil, err
	}
	if err := runtime.Init(t.store, t.prog, cfg.Train.Seed); err != nil {
		return nil, err
	}
	t.steps = cfg.Train.Steps
	if t.steps == 0 {
		t.steps = max(1, int(math.Ceil(cfg.Train.Epochs*float64(t.train.Len())/float64(cfg.Train.Batch))))
	}
	if cfg.Optim.Warmup >= t.steps && cfg.Optim.Warmup > 0 {
		return nil, cfg.Locate(fmt.Errorf("optim.warmup: found %d, expected less than the run's %d steps", cfg.Optim.Warmup, t.steps))
	}
	t.state = newState(cfg, t)
	if o.Team != nil {
		if t.hash, err = t.runHash(); err != nil {
			return nil, err
		}
		t.crew = &crew{team: o.Team, clean: true}
	}
	if o.Out != "" {
		t.saver = &checkpoint.Store{Dir: filepath.Join(o.Out, "checkpoints"), Keep: cfg.Train.Keep, FS: o.FS}
	}
	return t, nil
}

// start begins to read batches of this process's lanes, at the step that comes next.
func (t *Trainer) start() (err error) {
	c := t.cfg.Train
	lo, hi := 0, c.Lanes
	if t.crew != nil {
		lo, hi = t.crew.lanes()
	}
	if t.loader != nil || lo == hi {
		return nil
	}
	t.loader, err = data.NewLoader(t.train, data.LoaderConfig{Seed: c.Seed, Batch: c.Batch, Lanes: c.Lanes,
		LaneLo: lo, LaneHi: hi, Sampling: t.cfg.Data.Sampling, Start: int64(t.step)})
	if err != nil {
		return err
	}
	for _, f := range t.loader.Fields() {
		t.names = append(t.names, f.Name)
	}
	return nil
}

// feedLane gives the program a lane's batch of the current step.
func (t *Trainer) feedLane(lane int) error {
	batch, err := t.loader.Next(int64(t.step), lane)
	if err != nil {
		return err
	}
	for i, raw := range batch {
		if err := t.exec.Feed(t.names[i], raw); err != nil {
			return err
		}
	}
	if t.rng == nil {
		return nil
	}
	key := tensor.View[int64](t.rng)
	key[0], key[1], key[2] = int64(t.cfg.Train.Seed), int64(t.step), int64(lane)
	return t.exec.Feed(models.RNG, t.rng)
}

// Step takes one optimizer step and returns the mean loss of its samples before it. A loss or a gradient
// that is not finite ends the run with the place where it began; the weights are then not to be used.
func (t *Trainer) Step() (float64, error) {
	if err := t.start(); err != nil {
		return 0, err
	}
	lr, err := LearningRate(t.cfg.Optim, t.step, t.steps)
	if err != nil {
		return 0, err
	}
	bias1, bias2 := biasCorrections(t.cfg.Optim, t.step+1)
	if err := t.stepper.Begin(lr, bias1, bias2); err != nil {
		return 0, err
	}
	if err := t.lanes(); err != nil {
		return 0, err
	}
	mean, err := t.stepper.Mean(models.Loss)
	if err != nil {
		return 0, err
	}
	if !isFinite(float64(mean)) {
		return 0, t.diagnose(float64(mean))
	}
	if err := t.stepper.Update(); err != nil {
		return 0, err
	}
	if norm, ok := t.stepper.GradNorm(); ok && !isFinite(float64(norm)) {
		return 0, t.diagnoseGradient(float64(norm))
	}
	t.step++
	if t.crew != nil {
		t.stepEpoch = t.crew.epoch
	}
	return float64(mean), nil
}

// lanes leaves the sum of the step's gradients over all lanes in the gradient.
func (t *Trainer) lanes() error {
	if t.crew != nil {
		return t.sumLanes()
	}
	return t.stepper.Lanes(0, t.cfg.Train.Lanes, t.feed, nil)
}

// Device is the name of the device that trains, such as cpu.
func (t *Trainer) Device() string { return t.device.Name() }

// Explain prints the planned step, and how the device runs it where it has more to say.
func (t *Trainer) Explain(w io.Writer) {
	plan.Explain(w, t.prog)
	if e, ok := t.exec.(backend.Explainer); ok {
		e.Explain(w)
	}
}

// Steps returns how many steps the run has done and how many it takes.
func (t *Trainer) Steps() (done, all int) { return t.step, t.steps }

// Params counts the trainable numbers.
func (t *Trainer) Params() (n int) {
	for _, p := range t.prog.Tensors {
		if p.Kind == "param" {
			n += p.Type.Shape.Size()
		}
	}
	return n
}

// Resolved returns the configuration as YAML, with what the data set said of the model filled in.
func (t *Trainer) Resolved() ([]byte, error) {
	c := *t.cfg
	c.Model = t.Model.Config
	return c.YAML()
}

// Writes reports whether the run trains a language model on text, which can then write some.
func (t *Trainer) Writes() bool { return t.Model.Language() && t.train.Info().Tokenizer != nil }

// unit returns how many units a step trains on, and what they are.
func (t *Trainer) unit() (float64, string) {
	if t.Model.Language() {
		return float64(t.cfg.Train.Batch * t.Model.Context), "tokens"
	}
	return float64(t.cfg.Train.Batch), "samples"
}

// Close releases memory and files. It may be called at any time, and twice.
func (t *Trainer) Close() error {
	var err error
	if t.crew != nil {
		err = t.crew.close()
	}
	err = errors.Join(err, t.dropLoader(), t.unread.close())
	t.unread = nil
	if t.eval != nil {
		err = errors.Join(err, t.eval.Close())
		t.eval = nil
	}
	if t.exec != nil {
		err = errors.Join(err, t.exec.Close())
		t.exec = nil
	}
	if t.store != nil {
		err = errors.Join(err, t.store.Close())
		t.store = nil
	}
	if t.device != nil {
		err = errors.Join(err, t.device.Close())
		t.device = nil
	}
	for _, ds := range []data.Dataset{t.train, t.valid} {
		if ds != nil {
			err = errors.Join(err, data.Close(ds))
		}
	}
	t.train, t.valid = nil, nil
	return err
}
