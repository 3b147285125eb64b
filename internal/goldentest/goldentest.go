// Package goldentest trains the models of models/testdata for ten steps on any device, for tests that compare the losses
// with PyTorch's and with each other. It must not know devices by name.
package goldentest

import (
	"errors"
	"fmt"
	"math"

	"ringo/models"
	"ringo/models/golden"
	"ringo/runtime"
	"ringo/runtime/backend"
	"ringo/runtime/graph"
	"ringo/runtime/plan"
	"ringo/runtime/tensor"
)

// Train returns the losses of a case's steps, each lane training on the whole batch, and the weights' bytes afterwards.
func Train(b backend.Backend, c *golden.Case, opt plan.Options, lanes int) (losses []float64, weights []byte, err error) {
	m, err := models.New(c.Model)
	if err != nil {
		return nil, nil, err
	}
	opt.Training = &plan.Training{Lanes: lanes, Rule: func(p graph.Leaf) plan.Update { return update(c.Optim, p) }}
	store := b.NewStore()
	defer store.Close()
	var g *graph.Graph
	var built error
	e, err := runtime.Compile(b, store, func(gr *graph.Graph) {
		g = gr
		built = m.Loss(g, c.Batch, true)
	}, opt)
	if err = errors.Join(built, err); err != nil {
		return nil, nil, err
	}
	defer e.Close()
	initial, err := c.Weights(m, g)
	if err != nil {
		return nil, nil, err
	}
	for name, w := range initial {
		if err := store.Write(name, w.Bytes()); err != nil {
			return nil, nil, err
		}
	}
	s, err := runtime.NewStep(e)
	if err != nil {
		return nil, nil, err
	}
	for step := range c.LossesF32 {
		loss, err := take(s, e, c, step, lanes)
		if err != nil {
			return nil, nil, fmt.Errorf("step %d: %w", step, err)
		}
		losses = append(losses, loss)
	}
	for _, t := range e.Program().Tensors {
		raw := make([]byte, t.Type.Bytes())
		if err := store.Read(t.Name, raw); err != nil {
			return nil, nil, err
		}
		weights = append(weights, raw...)
	}
	return losses, weights, nil
}

// take takes one step and returns the loss before it.
func take(s *runtime.Step, e backend.Executable, c *golden.Case, step, lanes int) (float64, error) {
	correction := func(beta float64) float64 { return 1 - math.Pow(beta, float64(step+1)) }
	if err := s.Begin(c.Optim.LR, correction(c.Optim.Betas[0]), correction(c.Optim.Betas[1])); err != nil {
		return 0, err
	}
	if err := s.Lanes(0, lanes, func(lane int) error { return feed(e, c, step, lane) }, nil); err != nil {
		return 0, err
	}
	if err := s.Update(); err != nil {
		return 0, err
	}
	loss, err := s.Mean(models.Loss)
	return float64(loss), err
}

// feed gives the program a step's batch, and where it draws random numbers, the case's seed, the step and the lane.
func feed(e backend.Executable, c *golden.Case, step, lane int) error {
	for name, x := range c.Inputs(step) {
		if err := e.Feed(name, x.Bytes()); err != nil {
			return err
		}
	}
	if _, draws := e.Program().Inputs[models.RNG]; !draws {
		return nil
	}
	return e.Feed(models.RNG, tensor.Of(tensor.Shape{3}, int64(c.Seed), int64(step), int64(lane)).Bytes())
}

// update names the engine's op for a golden file's optimizer.
func update(o golden.Optim, p graph.Leaf) plan.Update {
	decay := o.WeightDecay
	if p.NoDecay {
		decay = 0
	}
	if o.Name == "sgd" {
		return plan.Update{Op: "sgd", Slots: []string{"momentum"}, Attrs: graph.SGD{Momentum: o.Momentum, Nesterov: o.Nesterov, WeightDecay: decay}}
	}
	return plan.Update{Op: "adamw", Slots: []string{"m", "v"}, Attrs: graph.AdamW{Beta1: o.Betas[0], Beta2: o.Betas[1], Eps: o.Eps, WeightDecay: decay}}
}
