package train

import (
	"ringo/models"
	"ringo/runtime"
	"ringo/runtime/backend"
	"ringo/runtime/graph"
	"ringo/runtime/plan"
	"ringo/runtime/tensor"
)

// compile plans the training step. It must come before every other program of the store, since the planner
// lays parameters, gradients and optimizer state end to end.
func (t *Trainer) compile() error {
	c := t.cfg.Train
	rule, err := Rule(t.cfg.Optim, t.Model)
	if err != nil {
		return err
	}
	opt := t.options()
	opt.Rounding, opt.Recompute, opt.Training = c.Rounding, c.Recompute, &plan.Training{
		Loss: models.Loss, Lanes: c.Lanes, Rule: rule, Clip: t.cfg.Optim.Clip, EMA: c.EMA, Norm: c.Lanes > 1, Shared: t.o.Team != nil}
	t.store = t.device.NewStore()
	build := func(g *graph.Graph) error { return t.Model.Loss(g, c.Batch/c.Lanes, true) }
	if t.exec, err = compile(t.device, t.store, build, opt); err != nil {
		return err
	}
	t.prog = t.exec.Program()
	if t.stepper, err = runtime.NewStep(t.exec); err != nil {
		return err
	}
	if _, ok := t.prog.Inputs[models.RNG]; ok {
		t.rng = make([]byte, 3*tensor.I64.Size())
	}
	t.feed, t.onReady = t.feedLane, t.ready
	return nil
}

// options is how every program of the run is planned.
func (t *Trainer) options() plan.Options {
	p := precision(t.cfg.Train.Precision)
	return plan.Options{Precision: p, ClassifierRows: t.cfg.Train.ClassifierRows, Disable: t.o.Disable}
}

// compile is runtime.Compile for a builder that may fail.
func compile(b backend.Backend, s backend.Store, build func(g *graph.Graph) error, opt plan.Options) (backend.Executable, error) {
	var failed error
	exec, err := runtime.Compile(b, s, func(g *graph.Graph) { failed = build(g) }, opt)
	if failed != nil {
		return nil, failed
	}
	return exec, err
}

func precision(name string) tensor.DType {
	if name == "bf16" {
		return tensor.BF16
	}
	return tensor.F32
}
