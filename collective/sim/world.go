package sim

import (
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"time"

	"ringo/collective/view"
)

// Options describe a schedule. The zero value of a number lets the seed choose.
type Options struct {
	Seed           uint64
	Hosts          int // launchers at the start, 1 to 5 by seed
	WorkersPerHost int // 1 or 2 by seed
	Witness        bool
	MinWorkers     int
	MaxWorkers     int
	Lanes          int // 8 by default
	Faults         int // 1 to 6 by seed; negative: none
	Steps          int // steps after the last fault, 3 by default

	// Configure changes the machines' settings.
	Configure func(*view.Config)
	// Trace takes one line per event worth telling.
	Trace io.Writer

	bug    bug
	script func(*world) (end time.Duration) // instead of faults by seed
}

// bug is a fault planted in the step protocol, to see whether the checks find it.
type bug int

const (
	noBug           bug = iota
	bugKeepsOldView     // a worker finishes its step in the old view when a new one comes
	bugWrongLanes       // lanes are dealt out differently by one rank
	bugIgnoresEpoch     // states are compared by their step alone
	bugNoHandOver       // a worker that lacks the newest state goes on with its own, under the newest one's name
)

// Result tells how a schedule went.
type Result struct {
	Seed     uint64
	Err      error         // what was violated, nil if nothing
	Views    int           // decided
	Steps    int           // reduced
	Events   uint64        // simulated
	Virtual  time.Duration // length of the story
	Majority bool          // a quorum of every view that mattered stayed, so that the job had to finish, and did unless Err
}

// limit is how long after the last fault the job may take to finish.
const limit = 60 * time.Second

// world is a running schedule.
type world struct {
	queue
	opt     Options
	rng     *rand.Rand
	net     *network
	hosts   []*host // in order of their start, also those that ended
	check   *checks
	initial *State
	trap    func(*worker) // springs when a worker has just applied a step that others have not
	target  int           // step at which training ends; grows while faults go on

	workers                []*worker
	byWorker               map[string]*worker
	hostsMade, workersMade int
}

func newWorld(o Options) *world {
	w := &world{opt: o, rng: rand.New(rand.NewPCG(o.Seed, 0x72696e676f)), initial: &State{}, byWorker: map[string]*worker{}, target: 1 << 30}
	w.net = newNetwork(w.rng)
	w.check = newChecks(w)
	choose := func(v *int, least, most int) {
		if *v == 0 {
			*v = least + w.rng.IntN(most-least+1)
		}
	}
	choose(&w.opt.Hosts, 1, 5)
	choose(&w.opt.WorkersPerHost, 1, 2)
	choose(&w.opt.Faults, 1, 6)
	choose(&w.opt.Lanes, 8, 8)
	choose(&w.opt.Steps, 3, 3)
	choose(&w.opt.MinWorkers, 1, 1)
	return w
}

// upTo is a random duration below d.
func (w *world) upTo(d time.Duration) time.Duration { return time.Duration(w.rng.Int64N(int64(d))) }

func (w *world) tracef(who, format string, args ...any) {
	if w.opt.Trace != nil {
		fmt.Fprintf(w.opt.Trace, "%12.6fs %-5s %s\n", w.now.Seconds(), who, fmt.Sprintf(format, args...))
	}
}

// pids returns the processes of a view, by rank.
func (w *world) pids(v view.View) []*worker {
	ring := make([]*worker, len(v.Workers))
	for i, k := range v.Workers {
		ring[i] = w.byWorker[k.ID]
	}
	return ring
}

func (w *world) byWorkerOf(h *host) (of []*worker) {
	for _, k := range w.workers {
		if k.host == h && k.alive {
			of = append(of, k)
		}
	}
	return of
}

// Run plays the schedule of a seed and returns how it went. It is a pure function of its options.
func Run(o Options) Result {
	w := newWorld(o)
	w.startHost("", false, true)
	for range w.opt.Hosts - 1 {
		w.after(w.upTo(300*time.Millisecond), func() { w.startHost("", false, false) })
	}
	if w.opt.Witness {
		w.after(w.upTo(300*time.Millisecond), func() { w.startHost("", true, false) })
	}
	plan := w.plan
	if o.script != nil {
		plan = func() time.Duration { return o.script(w) }
	}
	end := plan()
	for w.now < end && w.healthy() && w.queue.next() {
	}
	if w.healthy() {
		w.calm()
	}
	deadline, polled := w.now+limit, w.now
	finished := false
	for w.healthy() && !finished && w.now < deadline && w.queue.next() {
		if w.now > polled+20*time.Millisecond {
			polled, finished = w.now, w.finished()
		}
	}
	majority := w.majority()
	switch {
	case !w.healthy():
	case finished:
		w.check.finished()
	case majority:
		w.check.fail("a majority stayed, but %v after the last fault the job is not done: %s", limit, w.describe())
	}
	return Result{
		Seed: o.Seed, Err: w.check.err(o.Seed), Views: len(w.check.views), Steps: w.check.steps,
		Events: w.made, Virtual: w.now, Majority: majority,
	}
}

func (w *world) healthy() bool { return len(w.check.violations) == 0 }

// calm ends the faults: the network is whole, nothing hangs, launchers have started what died, and a few more steps
// remain to be made.
func (w *world) calm() {
	w.net.heal()
	w.trap = nil
	for _, h := range w.hosts {
		clear(h.told)
	}
	w.gossip()
	top := 0
	for _, k := range w.workers {
		if k.hung {
			k.resume()
		}
		top = max(top, k.state.Step)
	}
	if !slices.ContainsFunc(w.running(false), func(h *host) bool { return !h.leaving }) {
		w.startHost("", false, false)
	}
	for _, h := range w.running(false) {
		for n := len(w.byWorkerOf(h)); n < max(w.opt.WorkersPerHost, w.opt.MinWorkers); n++ {
			h.startWorker()
		}
	}
	w.target = top + w.opt.Steps
	w.tracef("world", "no more faults: training ends at step %d", w.target)
}

// finished reports whether every launcher that runs is a member of the newest view, and every worker there is done.
func (w *world) finished() bool {
	v := w.check.views[w.check.newest]
	for _, h := range w.hosts {
		if h.up && (!h.member || h.machine.View().Epoch != v.Epoch) {
			return false
		}
	}
	for _, k := range v.Workers {
		if o := w.byWorker[k.ID]; !o.alive || !o.done() || o.view.Epoch != v.Epoch {
			return false
		}
	}
	return len(v.Workers) > 0
}

// majority reports whether the job could not but go on: of every decided view from the oldest that a running member
// still acts on, a quorum of hosts is running and never left.
func (w *world) majority() bool {
	newest := uint64(0)
	running := map[string]bool{}
	for _, h := range w.hosts {
		if h.up {
			running[h.self.ID] = true
			newest = max(newest, h.machine.View().Epoch)
		}
	}
	for epoch, v := range w.check.views {
		if epoch >= newest && !v.Quorum(func(id string) bool { return running[id] }) {
			return false
		}
	}
	return newest > 0
}

// describe says where everybody stands.
func (w *world) describe() string {
	s := fmt.Sprintf("view %d [%s]", w.check.newest, names(w.check.views[w.check.newest]))
	for _, h := range w.hosts {
		if h.up {
			s += fmt.Sprintf("; %s %v in view %d", h.self.ID, h.machine.State(), h.machine.View().Epoch)
		}
	}
	for _, k := range w.workers {
		if k.alive {
			s += fmt.Sprintf("; %s of %s at step %d in view %d phase %d", k.id, k.host.self.ID, k.state.Step, k.view.Epoch, k.phase)
		}
	}
	return s
}
