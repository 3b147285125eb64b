package train

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"time"

	"ringo/collective/control"
	"ringo/internal/memory"
	"ringo/runtime/backend"
	"ringo/train/checkpoint"
	"ringo/train/metrics"
)

// configFile is the resolved configuration in a run's folder.
const configFile = "config.yaml"

// logs is about how many step events a run of unknown taste writes, and the most steps between two.
const (
	logs   = 200
	maxGap = 100
)

// meter measures the time between step events.
type meter struct {
	last  time.Time
	steps int
	pause time.Duration // spent on evaluations and checkpoints, which do not count
}

// Run trains to the end, until ctx is cancelled (the step is finished and a checkpoint saved), or until
// early stopping. Events go to the log as they happen. As a worker of a job it goes through the views: what a failing
// peer cuts off is done again in the next view.
func (t *Trainer) Run(ctx context.Context) (r Result, err error) {
	defer func() { err = t.settled(err) }()
	if t.crew == nil {
		return t.run(ctx)
	}
	err = t.regroup(ctx, nil)
	for err == nil {
		if r, err = t.run(ctx); err == nil {
			return r, nil
		}
		var l lost
		if errors.As(err, &l) {
			err = t.regroup(ctx, l.err)
		}
	}
	if errors.Is(err, control.ErrStopping) {
		return t.abandon()
	}
	return Result{}, err
}

// run takes steps from where the run stands. Between two steps come the pauses that the step asks for; where a run stands is
// the step and how much of the pause after it is done, which is what workers compare when they meet (agree).
func (t *Trainer) run(ctx context.Context) (Result, error) {
	if err := t.begun(); err != nil {
		return Result{}, err
	}
	m := meter{last: t.o.Now()}
	event := &metrics.Step{}
	for {
		if err := t.saved(false); err != nil {
			return Result{}, err
		}
		stop, err := t.pauses(&m)
		switch {
		case err != nil:
			return Result{}, err
		case stop:
			return t.finish("early stop")
		case t.step >= t.steps:
			return t.finish("finished")
		}
		if leave, err := t.asked(ctx); err != nil || leave != "" {
			return t.depart(leave, err)
		}
		from := t.o.Now()
		loss, err := t.Step()
		if err != nil {
			return Result{}, t.explain(err)
		}
		m.steps++
		if t.crew != nil {
			if err := t.stepped(t.o.Now().Sub(from)); err != nil {
				return Result{}, err
			}
		}
		if every := t.logEvery(); t.step%every == 0 || t.step == t.steps || t.step == 1 {
			if err := t.report(event, &m, loss); err != nil {
				return Result{}, err
			}
		}
	}
}

// begun writes the run's resolved configuration beside its checkpoints, and once plans the evaluation, emits the start event and
// ends setting up.
func (t *Trainer) begun() error {
	if t.saves() {
		text, err := t.Resolved()
		if err != nil {
			return err
		}
		if err := os.MkdirAll(t.o.Out, 0o777); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(t.o.Out, configFile), text, 0o666); err != nil {
			return err
		}
	}
	if t.started {
		return nil
	}
	t.started = true
	if err := t.planEvaluation(); err != nil {
		return err
	}
	err := t.emit(&metrics.Start{Step: t.step, Steps: t.steps, Model: t.Model.Name, Params: t.Params(),
		Device: t.device.Describe(), Precision: t.cfg.Train.Precision, Data: t.train.Info().Describe})
	memory.Settle() // steps touch most of their memory for the first time: what setting up took is not to stand beside it
	return err
}

// logEvery is the number of steps between step events.
func (t *Trainer) logEvery() int {
	if n := t.cfg.Train.LogEvery; n > 0 {
		return n
	}
	return min(max(1, t.steps/logs), maxGap)
}

// report emits a step event.
func (t *Trainer) report(e *metrics.Step, m *meter, loss float64) error {
	now := t.o.Now()
	spent := max(now.Sub(m.last)-m.pause, time.Nanosecond)
	lr, err := LearningRate(t.cfg.Optim, t.step-1, t.steps)
	if err != nil {
		return err
	}
	units, unit := t.unit()
	norm := math.NaN()
	if n, ok := t.stepper.GradNorm(); ok {
		norm = float64(n)
	}
	perStep := spent.Seconds() / float64(m.steps)
	*e = metrics.Step{Step: t.step, Loss: loss, LR: lr, GradNorm: norm, StepMS: perStep * 1e3, Rate: units / perStep, Unit: unit, GPU: t.sensors()}
	*m = meter{last: now}
	return t.emit(e)
}

// sensors reads the GPU's, where there is one.
func (t *Trainer) sensors() *metrics.GPU {
	m, ok := t.device.(backend.Monitor)
	if !ok {
		return nil
	}
	u, ok := m.Usage()
	if !ok {
		return nil
	}
	return &metrics.GPU{Busy: u.Busy, MemoryBytes: u.MemoryBytes, PowerW: u.PowerW, TemperatureC: u.TemperatureC}
}

// pauses evaluates and saves where the step says so and it is not done yet, and reports whether to stop early.
func (t *Trainer) pauses(m *meter) (stop bool, err error) {
	c := t.cfg.Train
	if t.paused >= t.step || t.step >= t.steps { // after the last step, finish does both
		return false, nil
	}
	from := t.o.Now()
	if c.EvalEvery > 0 && t.step%c.EvalEvery == 0 {
		if _, err := t.evaluate(); err != nil {
			return false, err
		}
		stop = c.EarlyStop > 0 && t.state.BadEvals >= c.EarlyStop
	}
	due := c.SaveEvery > 0 && t.step%c.SaveEvery == 0 || t.isBest()
	if due && !stop && t.saves() {
		if err := t.saveBehind(); err != nil {
			return false, err
		}
	}
	if !stop {
		t.paused = t.step
	}
	m.pause += t.o.Now().Sub(from)
	return stop, nil
}

// saves reports whether this process writes the run's checkpoints: of several workers the first does.
func (t *Trainer) saves() bool {
	return t.saver != nil && (t.crew == nil || t.crew.Group == nil || t.crew.Rank() == 0)
}

// evaluate scores the model, keeps count for early stopping and emits the event, once a step.
func (t *Trainer) evaluate() (Score, error) {
	if t.scored == t.step {
		return t.score, nil
	}
	s, err := t.Evaluate(t.cfg.Train.EvalBatches)
	if err != nil {
		return s, err
	}
	t.score, t.scored = s, t.step
	loss := s.Loss
	t.state.LastLoss = nil // JSON holds neither NaN nor infinities
	if isFinite(loss) {
		t.state.LastLoss = &loss
	}
	best := isFinite(loss) && (t.state.BestLoss == nil || loss < *t.state.BestLoss)
	if best {
		t.state.BestLoss, t.state.BestStep, t.state.BadEvals = &loss, t.step, 0
	} else {
		t.state.BadEvals++
	}
	return s, t.emit(&metrics.Eval{Step: t.step, ValLoss: s.Loss, Accuracy: s.Accuracy, Perplexity: s.Perplexity, Best: best})
}

// finish ends a run: a last evaluation unless it was interrupted, and a checkpoint.
func (t *Trainer) finish(reason string) (Result, error) {
	r := Result{Step: t.step, Reason: reason, Interrupted: reason == "interrupted", Score: Score{Loss: math.NaN(), Accuracy: math.NaN(), Perplexity: math.NaN()}}
	var err error
	if !r.Interrupted {
		if r.Score, err = t.evaluate(); err != nil {
			return r, err
		}
		r.Evaluated = true
	}
	if b := t.state.BestLoss; b != nil && t.cfg.Train.EarlyStop > 0 {
		r.BestStep, r.BestLoss = t.state.BestStep, *b
	}
	if t.saves() {
		c, err := t.save()
		if err != nil {
			return r, err
		}
		r.Checkpoint, r.ModelSHA256, r.Saved = c.Dir, c.Files[modelFile].SHA256, true
	}
	if t.crew != nil && t.crew.Group != nil {
		if err := t.crew.share(&r); err != nil {
			return r, err
		}
	}
	r.Wall = t.o.Now().Sub(t.begin)
	return r, nil
}

// Done emits the closing event of a finished run.
func (t *Trainer) Done(r Result) error {
	return t.emit(&metrics.Done{Step: r.Step, ValLoss: r.Score.Loss, Accuracy: r.Score.Accuracy, ModelSHA256: r.ModelSHA256,
		WallS: r.Wall.Seconds(), PeakRSSBytes: PeakRSS(), Reason: r.Reason, BestStep: r.BestStep, BestLoss: r.BestLoss})
}

// explain adds to an error that ended a run where its last checkpoint lies.
func (t *Trainer) explain(err error) error {
	var l lost
	if t.saver == nil || errors.As(err, &l) {
		return err
	}
	err = t.settled(err)
	if c, openErr := checkpoint.Open(t.saver.Dir); openErr == nil {
		return fmt.Errorf("%w; the last checkpoint is %s", err, c.Dir)
	}
	return err
}

func (t *Trainer) emit(e metrics.Event) error { return t.o.Log.Emit(e) }
