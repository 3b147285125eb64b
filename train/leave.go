package train

import (
	"context"

	"ringo/train/checkpoint"
)

// asked reports whether to leave before the next step, and why: "interrupted" stops the whole job with a checkpoint, "left"
// takes only this worker out of it. Alone, a cancelled context interrupts.
//
// A worker that was asked to leave says so in the sum of its next step. When all that compute leave, or after some more
// steps in which not all do, it goes, once all have the step: so a job that is asked to stop stops as one, and a single worker costs the others one view.
func (t *Trainer) asked(ctx context.Context) (leave string, err error) {
	c := t.crew
	if c == nil {
		if ctx.Err() != nil {
			return "interrupted", nil
		}
		return "", nil
	}
	if err := c.team.Gate(ctx, c.epoch); err != nil {
		return "", err
	}
	if c.team.Newest() > c.epoch {
		return "", lost{errMoved}
	}
	stop, all := c.team.Stopping()
	n, err := t.leavers()
	if err != nil {
		return "", err
	}
	if n > 0 {
		// Who goes now must not be the only one with this step: the last bytes of its sum may still be on their way to others.
		if err := c.Barrier(); err != nil {
			return "", lost{err}
		}
	}
	if n >= c.computing() {
		return "interrupted", nil // every worker reads the same number
	}
	if !stop {
		c.asked = 0 // it was, in an earlier view; in this one nobody else has the state yet
		return "", nil
	}
	if lo, hi := c.lanes(); c.asked >= patience(all) || c.asked == 1 && lo == hi {
		return "left", nil
	}
	c.asked++
	return "", nil
}

// patience is how many steps a worker that was asked to leave takes along before it goes without the others: they may have been
// asked a moment later.
func patience(all bool) int {
	if all {
		return 5
	}
	return 2
}

// computing is the number of workers that have lanes.
func (c *crew) computing() (n int) {
	for r := range c.view.Workers {
		if c.bounds[r+1] > c.bounds[r] {
			n++
		}
	}
	return n
}

// depart ends this worker's part before the run's end.
func (t *Trainer) depart(how string, err error) (Result, error) {
	switch {
	case err != nil:
		return Result{}, err
	case how == "interrupted":
		return t.finish(how)
	}
	return Result{Step: t.step, Reason: "left", Left: true}, nil
}

// abandon ends a worker that was asked to stop while it waited for others, who may never come: what it knows goes into a
// checkpoint, unless one of this step is there already.
func (t *Trainer) abandon() (Result, error) {
	r := Result{Step: t.step, Reason: "left", Left: true}
	if t.saver == nil || !t.crew.clean || t.stepEpoch == 0 {
		return r, nil
	}
	if c, err := checkpoint.Open(t.saver.Dir); err == nil && c.Step >= t.step {
		return r, nil
	}
	c, err := t.save()
	if err == nil {
		r.Checkpoint, r.ModelSHA256 = c.Dir, c.Files[modelFile].SHA256
	}
	return r, err
}

// leavers is how many workers said in the last step of this view that they want to leave.
func (t *Trainer) leavers() (int, error) {
	host, err := t.flag()
	if err != nil {
		return 0, err
	}
	return int(host[0]), nil
}

// flag is the element of the gradient in which workers say that they want to leave.
func (t *Trainer) flag() ([]float32, error) {
	return t.exec.Gradient().Host(t.prog.Flag, t.prog.Flag+1)
}

// lowerFlag forgets what was said in an earlier view.
func (t *Trainer) lowerFlag() error {
	host, err := t.flag()
	if err != nil {
		return err
	}
	host[0] = 0
	return t.exec.Gradient().Commit(t.prog.Flag, t.prog.Flag+1)
}
