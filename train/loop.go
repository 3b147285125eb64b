package train

import (
	"context"
	"fmt"
	"math"
	"time"

	"ringo/train/checkpoint"
	"ringo/train/metrics"
)

// Result is how a run ended.
type Result struct {
	Step        int
	Score       Score
	Evaluated   bool
	ModelSHA256 string // of model.safetensors; empty where the run keeps no checkpoints
	Checkpoint  string
	Wall        time.Duration
	Interrupted bool
	Reason      string // "finished", "early stop" or "interrupted"
}

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
// early stopping. Events go to the log as they happen.
func (t *Trainer) Run(ctx context.Context) (Result, error) {
	c := t.cfg.Train
	every := c.LogEvery
	if every == 0 {
		every = min(max(1, t.steps/logs), maxGap)
	}
	if err := t.emit(&metrics.Start{Step: t.step, Steps: t.steps, Model: t.Model.Name, Params: t.Params(),
		Device: t.device.Describe(), Precision: c.Precision, Data: t.train.Info().Describe}); err != nil {
		return Result{}, err
	}
	m := meter{last: t.o.Now()}
	event := &metrics.Step{}
	for t.step < t.steps {
		if ctx.Err() != nil {
			return t.finish("interrupted")
		}
		loss, err := t.Step()
		if err != nil {
			return Result{}, t.explain(err)
		}
		m.steps++
		if t.step%every == 0 || t.step == t.steps || t.step == 1 {
			if err := t.report(event, &m, loss); err != nil {
				return Result{}, err
			}
		}
		stop, err := t.pauses(&m)
		if err != nil {
			return Result{}, err
		}
		if stop {
			return t.finish("early stop")
		}
	}
	return t.finish("finished")
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
	*e = metrics.Step{Step: t.step, Loss: loss, LR: lr, GradNorm: norm, StepMS: perStep * 1e3, Rate: units / perStep, Unit: unit}
	*m = meter{last: now}
	return t.emit(e)
}

// pauses evaluates and saves where the step says so, and reports whether to stop early.
func (t *Trainer) pauses(m *meter) (stop bool, err error) {
	c := t.cfg.Train
	last := t.step == t.steps // finish does both then
	from := t.o.Now()
	if c.EvalEvery > 0 && t.step%c.EvalEvery == 0 && !last {
		if _, err := t.evaluate(); err != nil {
			return false, err
		}
		stop = c.EarlyStop > 0 && t.state.BadEvals >= c.EarlyStop
	}
	if c.SaveEvery > 0 && t.step%c.SaveEvery == 0 && !last && !stop && t.saver != nil {
		if _, err := t.save(); err != nil {
			return false, err
		}
	}
	m.pause += t.o.Now().Sub(from)
	return stop, nil
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
	best := t.state.BestLoss == nil || s.Loss < *t.state.BestLoss
	if best {
		loss := s.Loss
		t.state.BestLoss, t.state.BadEvals = &loss, 0
	} else {
		t.state.BadEvals++
	}
	loss := s.Loss
	t.state.LastLoss = &loss
	if !isFinite(loss) {
		t.state.BestLoss, t.state.LastLoss = nil, nil // JSON holds neither NaN nor infinities
	}
	return s, t.emit(&metrics.Eval{Step: t.step, ValLoss: s.Loss, Accuracy: s.Accuracy, Perplexity: s.Perplexity, Best: best})
}

func (t *Trainer) save() (*checkpoint.Checkpoint, error) {
	c, err := t.Save()
	if err != nil {
		return nil, err
	}
	return c, t.emit(&metrics.Checkpoint{Step: c.Step, Path: c.Dir})
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
	if t.saver != nil {
		c, err := t.save()
		if err != nil {
			return r, err
		}
		r.Checkpoint, r.ModelSHA256 = c.Dir, c.Files[modelFile].SHA256
	}
	r.Wall = t.o.Now().Sub(t.begin)
	return r, nil
}

// Done emits the closing event of a finished run.
func (t *Trainer) Done(r Result) error {
	return t.emit(&metrics.Done{Step: r.Step, ValLoss: r.Score.Loss, Accuracy: r.Score.Accuracy, ModelSHA256: r.ModelSHA256,
		WallS: r.Wall.Seconds(), PeakRSSBytes: PeakRSS(), Reason: r.Reason})
}

// explain adds to an error that ended a run where its last checkpoint lies.
func (t *Trainer) explain(err error) error {
	if t.saver == nil {
		return err
	}
	if c, openErr := checkpoint.Open(t.saver.Dir); openErr == nil {
		return fmt.Errorf("%w; the last checkpoint is %s", err, c.Dir)
	}
	return err
}

func (t *Trainer) emit(e metrics.Event) error { return t.o.Log.Emit(e) }
