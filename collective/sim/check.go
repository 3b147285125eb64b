package sim

import (
	"fmt"
	"strings"

	"ringo/collective/view"
)

// checks are the promises of the protocol, looked at after every event that could break one.
type checks struct {
	w          *world
	violations []string
	views      map[uint64]view.View
	newest     uint64           // epoch of the newest decided view
	trained    uint64           // newest epoch in which a step was reduced
	names      map[State]*State // (step, epoch) -> the one state of that name; Parent left out
	steps      int              // reduced, also those that did not survive
	at         map[*host]uint64 // newest view each host was given
}

func newChecks(w *world) *checks {
	return &checks{w: w, views: map[uint64]view.View{}, names: map[State]*State{{}: w.initial}, at: map[*host]uint64{}}
}

func (c *checks) fail(format string, args ...any) {
	if len(c.violations) < 20 {
		c.violations = append(c.violations, fmt.Sprintf("%v: ", c.w.now)+fmt.Sprintf(format, args...))
		c.w.tracef("check", "VIOLATION: "+format, args...)
	}
}

// decided: no two views with one epoch; a host's views rise; a view is well formed, has workers enough or none, keeps
// the founder, and keeps a quorum's worth of no more new hosts than old ones.
func (c *checks) decided(h *host, v view.View) {
	if err := v.Validate(); err != nil {
		c.fail("host %s: %v", h.self.ID, err)
	}
	if v.Epoch <= c.at[h] {
		c.fail("host %s was given view %d after view %d", h.self.ID, v.Epoch, c.at[h])
	}
	c.at[h] = v.Epoch
	if old, known := c.views[v.Epoch]; known {
		if !old.Equal(v) {
			c.fail("two views with epoch %d: %q [%s] and, at host %s, %q [%s]", v.Epoch, old.Reason, names(old), h.self.ID, v.Reason, names(v))
		}
		return
	}
	c.views[v.Epoch] = v
	c.newest = max(c.newest, v.Epoch)
	if n := len(v.Workers); n > 0 && n < c.w.opt.MinWorkers || c.w.opt.MaxWorkers > 0 && n > c.w.opt.MaxWorkers {
		c.fail("view %d has %d workers, expected none or %d to %d", v.Epoch, n, c.w.opt.MinWorkers, c.w.opt.MaxWorkers)
	}
	if before, known := c.views[v.Epoch-1]; known && before.Founder != v.Founder {
		c.fail("view %d of founder %s follows one of founder %s", v.Epoch, v.Founder, before.Founder)
	}
}

// reduced: a sum is complete. All lanes are in it once, all from one state; the state gets a name that no other has; and
// no later view had made a step when this one began, that is, one side trains. (A sum that began before, and that a late
// worker completes, is harmless: the state it makes is older than the other side's, which is why states carry epochs.)
func (c *checks) reduced(k *worker, t token) {
	c.steps++
	lane := 0
	for _, p := range t.parts {
		if p.base != k.state {
			c.fail("epoch %d step %d: ranks add gradients of different states", t.epoch, t.step)
		}
		if p.lo != lane {
			c.fail("epoch %d step %d: lanes %d to %d are used twice or never", t.epoch, t.step, min(lane, p.lo), max(lane, p.lo))
		}
		lane = p.hi
	}
	if lane != c.w.opt.Lanes {
		c.fail("epoch %d step %d: %d of %d lanes are in the sum", t.epoch, t.step, lane, c.w.opt.Lanes)
	}
	name := State{Step: t.best.Step, Epoch: t.best.Epoch}
	if c.names[name] != nil {
		c.fail("two states are both called step %d of epoch %d", name.Step, name.Epoch)
	}
	c.names[name] = t.best
	if t.epoch < t.begun {
		c.fail("a step begins and ends in epoch %d after epoch %d made one: two sides train", t.epoch, t.begun)
	}
	c.trained = max(c.trained, t.epoch)
	if v, known := c.views[t.epoch]; !known || len(v.Workers) != len(t.parts) || v.Rank(k.id) < 0 {
		c.fail("a step was reduced in epoch %d by %d workers, which is not that view", t.epoch, len(t.parts))
	}
}

// committed: a step is applied to the state that it was computed from.
func (c *checks) committed(k *worker, t token) {
	if k.state != t.best.Parent {
		c.fail("worker %s applies step %d of epoch %d to another state", k.id, t.step, t.epoch)
	}
}

// finished: at the end, with the network whole and a majority alive, all hosts are in one view, its workers have one
// state at the last step, and the line of states back to the start has every step once.
func (c *checks) finished() {
	v := c.views[c.newest]
	var end *State
	for _, id := range v.Workers {
		k := c.w.byWorker[id.ID]
		if end == nil {
			end = k.state
		}
		if k.state != end {
			c.fail("at the end workers have different states: %d of epoch %d, %d of epoch %d", end.Step, end.Epoch, k.state.Step, k.state.Epoch)
		}
	}
	for s := end; s != nil && s.Parent != nil; s = s.Parent {
		if s.Step != s.Parent.Step+1 || s.Epoch < s.Parent.Epoch {
			c.fail("step %d of epoch %d follows step %d of epoch %d", s.Step, s.Epoch, s.Parent.Step, s.Parent.Epoch)
		}
	}
}

// err returns the violations as one error, or nil.
func (c *checks) err(seed uint64) error {
	if len(c.violations) == 0 {
		return nil
	}
	return fmt.Errorf("seed %d: %s", seed, strings.Join(c.violations, "\n  "))
}
