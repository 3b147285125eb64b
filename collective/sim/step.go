package sim

import "time"

// done reports whether this worker has reached the end of training.
func (k *worker) done() bool { return k.state.Step >= k.w.target }

func (k *worker) next() int { return (k.rank + 1) % len(k.ring) }
func (k *worker) last() int { return len(k.ring) - 1 }

// receive takes a token of the newest view; those of an older one are refused, as the data plane does.
func (k *worker) receive(t token) {
	switch {
	case t.epoch > k.view.Epoch:
		k.early = append(k.early, t)
		return
	case t.epoch < k.view.Epoch || k.phase != syncing && k.phase != stepping:
		return
	}
	k.moved = k.w.now
	switch t.kind {
	case gather:
		t.states = append(t.states[:len(t.states):len(t.states)], k.state)
		if k.rank < k.last() {
			k.send(k.next(), t)
			return
		}
		t.kind, t.best = agreed, t.states[0]
		for rank, s := range t.states {
			if s.newer(t.best) {
				t.best, t.source = s, rank
			}
		}
		k.onAgreed(t)
	case agreed:
		k.onAgreed(t)
	case handover:
		k.state = t.best
		if k.agreed {
			k.compute()
		}
	case sum:
		k.sums = append(k.sums, t)
	case result:
		k.commit(t)
	}
	k.advance()
}

// onAgreed passes the agreed state on; the first rank that has it serves those that lack it.
func (k *worker) onAgreed(t token) {
	k.agreed, k.phase = true, stepping
	if k.next() != k.last() && len(k.ring) > 1 {
		k.send(k.next(), t)
	}
	if k.rank == t.source {
		for rank, s := range t.states {
			if !k.w.sameState(s, t.best) && k.w.opt.bug != bugNoHandOver {
				k.send(rank, token{kind: handover, epoch: t.epoch, best: t.best})
			}
		}
	}
	if k.w.opt.bug == bugNoHandOver && !k.state.same(t.best) {
		k.state = &State{Step: t.best.Step, Epoch: t.best.Epoch, Parent: k.state.Parent}
	}
	if k.w.sameState(k.state, t.best) {
		k.compute()
	}
}

// compute takes the gradients of this worker's lanes, which takes time.
func (k *worker) compute() {
	epoch, step := k.view.Epoch, k.state.Step
	if k.done() {
		return
	}
	k.begun = k.w.check.trained
	k.w.after(10*time.Millisecond+k.w.upTo(40*time.Millisecond), func() {
		k.do(func() {
			if k.view.Epoch == epoch && k.state.Step == step && k.phase == stepping {
				k.ready, k.moved = true, k.w.now
				if k.rank == 0 {
					k.sums = append(k.sums, token{kind: sum, epoch: epoch, step: step, begun: k.begun})
				}
				k.advance()
			}
		})
	})
}

// advance adds this worker's lanes to a waiting sum, if both are ready.
func (k *worker) advance() {
	if !k.alive || k.paused || k.phase != stepping || !k.ready {
		return
	}
	for i, t := range k.sums {
		if t.step != k.state.Step {
			continue
		}
		k.sums = append(k.sums[:i:i], k.sums[i+1:]...)
		k.ready = false
		t.parts = append(t.parts[:len(t.parts):len(t.parts)], part{k.state, k.lane(k.rank), k.lane(k.rank + 1)})
		if k.rank < k.last() {
			k.send(k.next(), t)
			return
		}
		t.kind, t.best = result, &State{Step: t.step + 1, Epoch: t.epoch, Parent: k.state}
		k.w.check.reduced(k, t)
		k.commit(t)
		return
	}
}

// lane returns where a rank's lanes begin: blocks as equal as possible.
func (k *worker) lane(rank int) int {
	n := len(k.ring)
	if k.w.opt.bug == bugWrongLanes && k.view.Epoch%2 == 0 && rank == 1 {
		n++
	}
	return rank * k.w.opt.Lanes / n
}

// commit applies a reduced step and passes the result on, as far as the rank before the one that finished the sum.
func (k *worker) commit(t token) {
	if k.next() != k.last() && len(k.ring) > 1 {
		k.send(k.next(), t)
	}
	k.w.check.committed(k, t)
	k.state, k.ready = t.best, false
	if trap := k.w.trap; trap != nil && k.rank < k.last() && k.w.rng.IntN(2) == 0 {
		k.w.trap = nil
		trap(k)
	}
	k.compute()
}

// sameState compares states as workers do, by name.
func (w *world) sameState(a, b *State) bool {
	if w.opt.bug == bugIgnoresEpoch {
		return a.Step == b.Step
	}
	return a.same(b)
}
