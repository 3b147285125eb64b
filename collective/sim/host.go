package sim

import (
	"fmt"
	"math"
	"slices"
	"time"

	"ringo/collective/view"
)

const never = time.Duration(math.MaxInt64)

// host is a launcher: a real view machine, and the processes that it started.
type host struct {
	w       *world
	self    view.Host
	machine *view.Machine
	up      bool // running
	leaving bool // asked to end cleanly
	member  bool // Standing is Member: workers may step
	tickAt  time.Duration
	workers []*worker // started by this launcher and not known to have ended
	told    map[string]bool
}

// startHost starts a launcher; it founds the job or asks to be let in.
func (w *world) startHost(addr string, witness, found bool) *host {
	w.hostsMade++
	self := view.Host{ID: fmt.Sprintf("h%d", w.hostsMade), Addr: addr, Witness: witness}
	if addr == "" {
		self.Addr = self.ID + ":1"
	}
	cfg := view.DefaultConfig(self)
	cfg.Heartbeat, cfg.LostAfter = 400*time.Millisecond, 1600*time.Millisecond
	cfg.Seed, cfg.MinWorkers, cfg.MaxWorkers = w.rng.Uint64(), w.opt.MinWorkers, w.opt.MaxWorkers
	if w.opt.Configure != nil {
		w.opt.Configure(&cfg)
	}
	machine, err := view.New(cfg)
	if err != nil {
		panic(err) // the simulator's own settings
	}
	h := &host{w: w, self: self, machine: machine, up: true, tickAt: never, told: map[string]bool{}}
	w.hosts = append(w.hosts, h)
	w.tracef(self.ID, "starts at %s, witness %v, founds %v", self.Addr, witness, found)
	h.step(view.Start{Found: found})
	for range w.opt.WorkersPerHost {
		if !witness {
			h.startWorker()
		}
	}
	w.gossip()
	return h
}

// gossip tells hosts that can reach each other of each other, some time later.
func (w *world) gossip() {
	for _, a := range w.hosts {
		for _, b := range w.hosts {
			if a == b || !a.up || !b.up || a.told[b.self.ID] || !w.net.connected(a.self.ID, b.self.ID) {
				continue
			}
			a.told[b.self.ID] = true
			w.after(w.upTo(200*time.Millisecond), func() { a.step(view.Seen{Host: b.self}) })
		}
	}
}

// step gives the machine one input and carries out what it says.
func (h *host) step(in view.Input) {
	if !h.up {
		return
	}
	outputs := h.machine.Step(h.w.now, in)
	for _, out := range outputs {
		switch out := out.(type) {
		case view.Send:
			h.send(out)
		case view.Decided:
			if h.w.opt.Trace != nil {
				h.w.tracef(h.self.ID, "view %d: %s [%s]", out.View.Epoch, out.View.Reason, names(out.View))
			}
			h.w.check.decided(h, out.View)
			h.handOver(out.View)
		case view.Standing:
			h.w.tracef(h.self.ID, "%v: %s", out.State, out.Reason)
			h.member = out.State == view.Member
			h.pause(!h.member)
		case view.Left:
			h.w.tracef(h.self.ID, "%s", out.Reason)
			h.w.stop(h)
		case view.Refused:
			h.w.check.fail("host %s refused a message of %s: %v", h.self.ID, out.From, out.Err)
		case view.Wake:
			h.wake(out.At)
		}
	}
}

func (h *host) wake(at time.Duration) {
	if at >= h.tickAt || at == never {
		return
	}
	h.tickAt = at
	h.w.after(at-h.w.now, func() {
		if h.tickAt == at {
			h.tickAt = never
		}
		h.step(view.Tick{})
	})
}

// send carries a control message: lost, late, twice, or as it should be.
func (h *host) send(out view.Send) {
	w, from, to := h.w, h.self.ID, w0(h.w.hosts, out.To.ID)
	if to == nil || !w.net.connected(from, to.self.ID) {
		return
	}
	for range w.net.copies() {
		w.after(w.net.delay(), func() {
			if to.up && w.net.connected(from, to.self.ID) {
				if w.opt.Trace != nil && !out.Lossy {
					w.tracef(to.self.ID, "← %s %s", from, view.Describe(out.Data))
				}
				to.step(view.Message{From: from, Data: out.Data})
			}
		})
	}
}

func w0(hosts []*host, id string) *host {
	for _, h := range hosts {
		if h.self.ID == id {
			return h
		}
	}
	return nil
}

// handOver passes a view to the local workers: those in it act in it, others stop and keep their state.
func (h *host) handOver(v view.View) {
	for _, k := range h.workers {
		k.fromLauncher(func() { k.setView(v, h.w.pids(v)) })
	}
}

func (h *host) pause(paused bool) {
	for _, k := range h.workers {
		k.fromLauncher(func() { k.setPaused(paused) })
	}
}

// startWorker starts a process; it is announced when it listens.
func (h *host) startWorker() *worker {
	w := h.w
	w.workersMade++
	k := &worker{w: w, host: h, id: fmt.Sprintf("w%d", w.workersMade), alive: true, state: w.initial, paused: !h.member}
	w.byWorker[k.id] = k
	w.workers = append(w.workers, k)
	w.after(10*time.Millisecond+w.upTo(60*time.Millisecond), func() {
		if h.up && k.alive {
			h.workers = append(h.workers, k)
			h.report("worker " + k.id + " is ready")
			k.setPaused(!h.member)
		}
	})
	return k
}

// report tells the machine who of the local workers is alive.
func (h *host) report(reason string) {
	var list []view.Worker
	for _, k := range h.workers {
		list = append(list, view.Worker{ID: k.id, Addr: k.id + ":1", Device: "cpu"})
	}
	h.step(view.Workers{Workers: list, Reason: reason})
}

// reap is what a launcher does when a process of its ends.
func (h *host) reap(k *worker) {
	if !h.up {
		return
	}
	h.workers = slices.DeleteFunc(h.workers, func(o *worker) bool { return o == k })
	h.report("worker " + k.id + " died")
}

// stop ends a launcher and its workers at once.
func (w *world) stop(h *host) {
	h.up = false
	for _, k := range w.byWorkerOf(h) {
		k.kill()
	}
}

func names(v view.View) string {
	s := ""
	for _, h := range v.Hosts {
		s += h.ID + " "
	}
	s += "|"
	for _, k := range v.Workers {
		s += " " + k.ID
	}
	return s
}
