package sim

import (
	"slices"
	"time"

	"ringo/collective/view"
)

// fault is something that goes wrong, or changes, in a running job.
type fault struct {
	name   string
	weight int
	run    func(*world)
}

// faults are what schedules are made of, with how often each is drawn.
var faults = []fault{
	{"kill a worker", 6, func(w *world) {
		if k := pick(w, w.living()); k != nil {
			w.killWorker(k)
		}
	}},
	{"kill the first worker of the ring", 2, func(w *world) {
		if v := w.check.views[w.check.newest]; len(v.Workers) > 0 {
			w.killWorker(w.byWorker[v.Workers[0].ID])
		}
	}},
	{"kill all workers but one", 1, func(w *world) {
		all := w.living()
		spare := pick(w, all)
		for _, k := range all {
			if k != spare {
				w.killWorker(k)
			}
		}
	}},
	{"kill a worker that applied a step before others did", 2, func(w *world) {
		w.trap = func(k *worker) { w.killWorker(k) }
	}},
	{"cut off a worker that applied a step before others did", 2, func(w *world) {
		w.trap = func(k *worker) {
			w.tracef("net", "%s is cut off", k.host.self.ID)
			w.net.side = map[string]int{k.host.self.ID: 1}
			w.after(w.upTo(time.Second), func() {
				w.net.side = map[string]int{}
				w.gossip()
			})
		}
	}},
	{"stop a worker for a while", 2, func(w *world) {
		if k := pick(w, w.living()); k != nil {
			w.tracef(k.id, "hangs")
			k.hung = true
			w.after(w.upTo(3*time.Second), func() {
				w.tracef(k.id, "goes on")
				k.resume()
			})
		}
	}},
	{"add a worker", 2, func(w *world) {
		if h := pick(w, w.running(false)); h != nil {
			h.startWorker()
		}
	}},
	{"crash a host", 5, func(w *world) {
		if h := pick(w, w.running(true)); h != nil && w.spared(h) {
			w.crash(h)
		}
	}},
	{"a host leaves", 2, func(w *world) {
		if h := pick(w, w.running(true)); h != nil && w.spared(h) {
			w.tracef(h.self.ID, "is asked to leave")
			h.leaving = true
			h.step(view.Leave{})
		}
	}},
	{"a host joins", 3, func(w *world) { w.startHost("", w.rng.IntN(8) == 0, false) }},
	{"partition", 6, func(w *world) {
		w.net.side = map[string]int{}
		for _, h := range w.hosts {
			w.net.side[h.self.ID] = w.rng.IntN(2)
		}
		w.tracef("net", "partition: %v", w.net.side)
		w.hearsay()
		w.healLater(func() { w.net.side = map[string]int{} })
	}},
	{"cut one link", 3, func(w *world) {
		a, b := pick(w, w.running(true)), pick(w, w.running(true))
		if a == nil || a == b {
			return
		}
		w.tracef("net", "no way between %s and %s", a.self.ID, b.self.ID)
		w.net.cut[link(a.self.ID, b.self.ID)] = true
		w.healLater(func() { delete(w.net.cut, link(a.self.ID, b.self.ID)) })
	}},
	{"lossy network", 2, func(w *world) {
		w.net.loss, w.net.twice = 0.3*w.rng.Float64(), 0.2
		w.healLater(func() { w.net.loss, w.net.twice = 0, 0.01 })
	}},
	{"slow network", 2, func(w *world) {
		w.net.slow = 1 + 4*w.rng.Float64()
		w.healLater(func() { w.net.slow = 1 })
	}},
	{"a false alarm", 1, func(w *world) {
		a, b := pick(w, w.running(true)), pick(w, w.running(true))
		if a != nil && a != b {
			w.tracef(a.self.ID, "is told that %s is dead, which it is not", b.self.ID)
			a.step(view.Lost{ID: b.self.ID})
		}
	}},
	{"two hosts propose at once", 3, func(w *world) {
		up := w.running(true)
		rival := pick(w, up)
		for _, h := range up {
			if h != rival && w.rng.IntN(2) == 0 {
				rival.step(view.Lost{ID: h.self.ID})
			}
		}
		if k := pick(w, w.living()); k != nil {
			w.killWorker(k)
		}
	}},
	{"a ring breaks without a death", 1, func(w *world) {
		if k := pick(w, w.living()); k != nil && len(k.ring) > 1 {
			k.giveUp(k.view.Epoch, k.ring[k.next()], "broken pipe")
		}
	}},
}

// plan draws the faults of the schedule and their times, and returns when they are over. A third comes within 20 ms of
// the one before it, so that changes overlap; the rest within 0.4 or 3 seconds.
func (w *world) plan() (end time.Duration) {
	total := 0
	for _, f := range faults {
		total += f.weight
	}
	at := 100*time.Millisecond + w.upTo(900*time.Millisecond)
	for range w.opt.Faults {
		x := w.rng.IntN(total)
		i := slices.IndexFunc(faults, func(f fault) bool { x -= f.weight; return x < 0 })
		w.after(at, func() {
			w.tracef("world", "%s", faults[i].name)
			faults[i].run(w)
		})
		at += w.upTo([]time.Duration{20 * time.Millisecond, 400 * time.Millisecond, 3 * time.Second}[w.rng.IntN(3)])
	}
	return at + w.upTo(time.Second)
}

// pick draws one of a list; nil from an empty one.
func pick[T any](w *world, list []*T) *T {
	if len(list) == 0 {
		return nil
	}
	return list[w.rng.IntN(len(list))]
}

func (w *world) living() (all []*worker) {
	for _, k := range w.workers {
		if k.alive {
			all = append(all, k)
		}
	}
	return all
}

func (w *world) running(witnesses bool) (all []*host) {
	for _, h := range w.hosts {
		if h.up && (witnesses || !h.self.Witness) {
			all = append(all, h)
		}
	}
	return all
}

// spared reports whether the job can go on without a host. One schedule in ten does not care.
func (w *world) spared(h *host) bool {
	h.up = false
	ok := w.majority()
	h.up = true
	return ok || w.rng.IntN(10) == 0
}

// killWorker ends a process; its launcher starts another one, mostly.
func (w *world) killWorker(k *worker) {
	if !k.alive {
		return
	}
	w.tracef(k.id, "is killed at step %d", k.state.Step)
	k.kill()
	if w.rng.IntN(4) > 0 {
		w.after(20*time.Millisecond+w.upTo(500*time.Millisecond), func() {
			if k.host.up {
				k.host.startWorker()
			}
		})
	}
}

// crash ends a launcher with its workers. Others hear of it soon, late or only by its silence; mostly it comes back as
// another host, at its old address or a new one.
func (w *world) crash(h *host) {
	w.tracef(h.self.ID, "crashes")
	w.stop(h)
	for _, o := range w.running(true) {
		if w.rng.IntN(3) > 0 {
			w.after(w.upTo([]time.Duration{5 * time.Millisecond, time.Second}[w.rng.IntN(2)]), func() { o.step(view.Lost{ID: h.self.ID}) })
		}
	}
	if w.rng.IntN(3) > 0 {
		addr := ""
		if w.rng.IntN(2) == 0 {
			addr = h.self.Addr
		}
		w.after(w.upTo(2*time.Second), func() { w.startHost(addr, h.self.Witness, false) })
	}
}

// hearsay is gossip that finds out about a partition before the machines do.
func (w *world) hearsay() {
	for _, a := range w.running(true) {
		for _, b := range w.running(true) {
			if !w.net.connected(a.self.ID, b.self.ID) && w.rng.IntN(3) == 0 {
				a.told[b.self.ID] = false
				w.after(w.upTo(2*time.Second), func() {
					if !w.net.connected(a.self.ID, b.self.ID) {
						a.step(view.Lost{ID: b.self.ID})
					}
				})
			}
		}
	}
}

func (w *world) healLater(heal func()) {
	w.after(w.upTo([]time.Duration{200 * time.Millisecond, 6 * time.Second}[w.rng.IntN(2)]), func() {
		w.tracef("net", "heals")
		heal()
		w.gossip()
	})
}
