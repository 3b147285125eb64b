package train

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/bits"
	"time"

	"ringo/collective/view"
	"ringo/runtime/backend"
	"ringo/runtime/plan"
	"ringo/train/metrics"
)

// reproducible says that sums over workers have the same bits at any number of workers.
const reproducible = "reproducible"

// sumLanes computes this worker's lanes of a step and leaves the sum over all lanes of all workers in the gradient.
// Buckets are summed over workers while the last lane's backward pass goes on.
func (t *Trainer) sumLanes() error {
	c, g := t.crew, t.exec.Gradient()
	run := c.sumTree
	if !c.reducer.tree && len(c.subtrees) > 1 {
		run = c.sumChain
	}
	if c.devices != nil {
		if err := run(t, g); err != nil {
			return err
		}
		return c.devices.wait()
	}
	if err := errors.Join(run(t, g), c.reducer.wait()); err != nil {
		return err
	}
	return g.Commit(0, g.Len())
}

// ready gives a finished bucket to the reducer; the flag rides in the bucket that holds it.
func (t *Trainer) ready(b plan.Bucket) error {
	if t.crew.devices != nil {
		return t.giveDevices(b)
	}
	if t.crew.reducer.failed.Load() {
		return nil // wait says what happened; there is no use in more
	}
	from, to := int(b.Offset/4), int((b.Offset+b.Bytes)/4)
	host, err := t.exec.Gradient().Host(from, to)
	if err != nil {
		return err
	}
	if f := t.prog.Flag; f >= from && f < to {
		host[f-from] = t.crew.raised()
	}
	t.crew.reducer.give(b, host)
	return nil
}

// giveAll hands over the whole gradient at once.
func (t *Trainer) giveAll() error {
	for _, b := range t.prog.Buckets {
		if err := t.ready(b); err != nil {
			return err
		}
	}
	return nil
}

// giveNothing is the part of a worker without lanes: zeros, where sums are over buffers and not over lanes.
func (t *Trainer) giveNothing(g backend.Gradient) error {
	host, err := g.Host(0, g.Len())
	if err != nil {
		return err
	}
	clear(host)
	if err := g.Commit(0, g.Len()); err != nil {
		return err
	}
	return t.giveAll()
}

// sumTree keeps the sum of every whole subtree of the block apart: the tree goes on over workers.
func (c *crew) sumTree(t *Trainer, g backend.Gradient) error {
	if len(c.subtrees) == 0 {
		return t.giveNothing(g)
	}
	last := len(c.subtrees) - 1
	for i, s := range c.subtrees[:last] {
		if err := t.stepper.Lanes(s[0], s[1], t.feed, nil); err != nil {
			return err
		}
		host, err := g.Host(0, g.Len())
		if err != nil {
			return err
		}
		copy(c.parts[i], host)
		c.parts[i][t.prog.Flag] = 0
	}
	s := c.subtrees[last]
	return t.stepper.Lanes(s[0], s[1], t.feed, t.onReady)
}

// sumChain adds the block's subtrees up, left to right, before anything is sent: without a promise of bits across
// worlds one sum per worker is enough.
func (c *crew) sumChain(t *Trainer, g backend.Gradient) error {
	widest := 0
	for _, s := range c.subtrees {
		widest = max(widest, s[1]-s[0])
	}
	level := bits.Len(uint(widest)) - 1 // the subtrees themselves use the levels below
	for i, s := range c.subtrees {
		if err := t.stepper.Lanes(s[0], s[1], t.feed, nil); err != nil {
			return err
		}
		if i > 0 {
			g.Add(level, 0, g.Len())
		}
		if i+1 < len(c.subtrees) {
			g.Save(level)
		}
	}
	return t.giveAll()
}

// regroup leaves a view that is of no more use, waits for the next one and brings every worker of it to the same state.
// It returns when the run can go on, or with the error that ends it.
func (t *Trainer) regroup(ctx context.Context, cause error) error {
	c := t.crew
	c.leave()
	if cause != nil {
		if c.brokeAt.IsZero() {
			c.brokeAt = t.o.Now()
		}
		if !errors.Is(cause, errMoved) && c.team.Newest() <= c.epoch {
			c.team.Broken(c.epoch, cause)
		}
	}
	for {
		v, g, err := c.team.Join(ctx, c.epoch)
		if err != nil {
			return err
		}
		if err := errors.Join(t.dropLoader(), t.lowerFlag()); err != nil {
			return errors.Join(err, g.Close())
		}
		c.joined = t.o.Now()
		c.meet(v, g, t.prog, t.cfg.Train)
		if err = t.agree(); err == nil {
			c.agreed = t.o.Now()
			err = t.joinDevices(ctx)
		}
		var l lost
		if err == nil || !errors.As(err, &l) {
			return err
		}
		c.leave()
		if c.team.Newest() <= c.epoch {
			c.team.Broken(c.epoch, err)
		}
	}
}

// leave ends the group, if there is one.
func (c *crew) leave() {
	if c.Group == nil {
		return
	}
	c.leaveDevices()
	c.Group.Abort(errMoved)
	_ = c.reducer.wait()
	c.reducer.close()
	_ = c.Group.Close() // aborted already; what it could say is known
	c.Group, c.reducer = nil, nil
}

func (t *Trainer) dropLoader() error {
	if t.loader == nil {
		return nil
	}
	err := t.loader.Close()
	t.loader, t.names = nil, nil
	return err
}

// share gives every worker the result that the saving one has, and returns when all have it: nobody leaves while somebody
// could still be needed.
func (c *crew) share(r *Result) error {
	raw, err := json.Marshal([2]string{r.Checkpoint, r.ModelSHA256})
	if err != nil {
		return err
	}
	all, err := c.Gather(raw)
	if err != nil {
		return lost{err}
	}
	var first [2]string
	if err := json.Unmarshal(all[0], &first); err != nil {
		return lost{fmt.Errorf("%s says nothing sensible of the result: %w", describe(c.view, 0), err)}
	}
	r.Checkpoint, r.ModelSHA256 = first[0], first[1]
	return nil
}

// stepped reports a step to the launcher, and the first one of a view as an event, with the time since the last view broke.
func (t *Trainer) stepped(spent time.Duration) error {
	c := t.crew
	lo, hi := c.lanes()
	p := Progress{Epoch: c.epoch, Step: t.step, LaneLo: lo, LaneHi: hi}
	sent := c.Stats().Sent
	if spent > 0 {
		p.LanesPerSecond = float64(hi-lo) / spent.Seconds()
		p.BytesPerSecond = float64(sent-c.sent) / spent.Seconds()
	}
	c.sent = sent
	var err error
	if c.epoch != c.told {
		c.told = c.epoch
		now := t.o.Now()
		if !c.brokeAt.IsZero() {
			p.RecoveryMS = float64(now.Sub(c.brokeAt)) / 1e6
		}
		c.brokeAt = time.Time{}
		p.RingMS, p.AgreedMS = float64(now.Sub(c.joined))/1e6, float64(now.Sub(c.agreed))/1e6
		err = t.emit(&metrics.View{Epoch: int(c.epoch), Workers: len(c.view.Workers), Reason: c.view.Reason, Step: t.step, RecoveryMS: p.RecoveryMS})
	}
	c.team.Progress(p)
	return err
}

// describe names the members of a view for errors.
func describe(v view.View, rank int) string {
	if rank < 0 || rank >= len(v.Workers) {
		return fmt.Sprintf("rank %d", rank)
	}
	return "worker " + v.Workers[rank].ID
}
