package train

import (
	"fmt"
	"math"

	"ringo/train/config"
)

// shape maps the part r ∈ [0,1] of the decaying stretch to the part of lr − min_lr that is left.
type shape func(r float64) float64

// schedules is the table of learning-rate schedules: the part of the run after which decay starts (by
// default right after the warmup), and its shape.
var schedules = map[string]struct {
	late  bool // decay takes only the last optim.decay part of the steps
	shape shape
}{
	"constant": {shape: func(float64) float64 { return 1 }},
	"linear":   {shape: func(r float64) float64 { return 1 - r }},
	// Loshchilov and Hutter, "SGDR", ICLR 2017, eq. 5: ½(1 + cos πr).
	"cosine": {shape: func(r float64) float64 { return (1 + math.Cos(math.Pi*r)) / 2 }},
	// Warmup, stable, decay: Hu et al., "MiniCPM", 2024; the 1 − √r cooldown of Hägele et al., "Scaling
	// laws and compute-optimal training beyond fixed training durations", NeurIPS 2024.
	"wsd": {late: true, shape: func(r float64) float64 { return 1 - math.Sqrt(r) }},
}

// LearningRate returns the rate of a step, 0 ≤ step < steps:
//
//	warmup:  lr · (step+1) / (warmup+1)
//	later:   min_lr + (lr − min_lr) · shape((step − start) / (steps − start))
//
// which are nanoGPT's formulas for "cosine". It is a pure function: resuming needs no state.
func LearningRate(o config.Optim, step, steps int) (float64, error) {
	s, ok := schedules[o.Schedule]
	if !ok {
		return 0, fmt.Errorf("optim.schedule %q: unknown", o.Schedule)
	}
	if step < o.Warmup {
		return o.LR * float64(step+1) / float64(o.Warmup+1), nil
	}
	start := o.Warmup
	if s.late {
		start = max(start, steps-int(math.Round(o.Decay*float64(steps))))
	}
	if step < start {
		return o.LR, nil
	}
	r := 1.0
	if step < steps {
		r = float64(step-start) / float64(steps-start)
	}
	floor := o.MinLR
	if o.Schedule == "constant" {
		floor = 0 // the shape is 1 throughout: lr exactly, without rounding
	}
	return floor + (o.LR-floor)*s.shape(r), nil
}
