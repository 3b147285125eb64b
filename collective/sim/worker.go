package sim

import (
	"time"

	"ringo/collective/view"
)

// State is what training has reached: parameters and optimizer after Step steps, the last of them made in Epoch. The two
// numbers name it: in one epoch a step is reduced at most once, so equal names mean equal bits. Parent is the state
// before that step; following it back gives every step that counts.
type State struct {
	Step   int
	Epoch  uint64
	Parent *State
}

// newer orders states: more steps first, then the later epoch. What a view goes on from is the newest that a member has.
func (s *State) newer(o *State) bool {
	return s.Step > o.Step || s.Step == o.Step && s.Epoch > o.Epoch
}

// same compares names, as workers do; only the checks look at identity.
func (s *State) same(o *State) bool { return s.Step == o.Step && s.Epoch == o.Epoch }

type phase int

const (
	idle     phase = iota // in no view: keeps its state and waits
	syncing               // agreeing with the ring on the state to go on from
	stepping              // computing and reducing
	gaveUp                // the ring failed: waits for a newer view
)

// worker is the step protocol of one process. In a view it agrees with the others on the newest state, receives it if it
// lacks it, and makes steps: gradients of its lanes, summed along the ring, applied when the sum comes back. It acts in
// the newest view handed to it and in no other.
type worker struct {
	w      *world
	host   *host
	id     string
	alive  bool
	hung   bool          // stopped, as by SIGSTOP
	inbox  []func()      // what a stopped process will find when it goes on
	urgent []func()      // from its launcher: it looks there first, before every step
	mail   time.Duration // when the launcher's last message arrives: they keep their order

	state  *State
	view   view.View
	rank   int
	ring   []*worker
	phase  phase
	paused bool
	agreed bool
	ready  bool    // gradients of step state.Step are computed
	begun  uint64  // see token
	sums   []token // came before this worker was ready for them
	early  []token // of epochs not handed over yet
	moved  time.Duration
}

type tokenKind int

const (
	gather   tokenKind = iota // passes every rank and collects its state
	agreed                    // tells every rank which one to go on from
	handover                  // carries that state to one that lacks it
	sum                       // passes every rank and collects its lanes
	result                    // carries the reduced step to every rank
)

// token is what goes along the ring. Reduce-scatter and all-gather are n such tokens at once, one per chunk; for who may
// commit what, one tells the same story.
type token struct {
	kind   tokenKind
	epoch  uint64
	states []*State
	best   *State
	source int
	step   int
	parts  []part
	begun  uint64 // newest epoch that had made a step when this one began; only the checks look at it
}

// part is a rank's share of a sum: the lanes [lo, hi) of a step from a state.
type part struct {
	base   *State
	lo, hi int
}

// fromLauncher runs fn when a message that the launcher sends now arrives. Messages keep their order.
func (k *worker) fromLauncher(fn func()) {
	k.mail = max(k.mail+1, k.w.now+50*time.Microsecond+k.w.upTo(time.Millisecond))
	k.w.after(k.mail-k.w.now, func() {
		if k.hung {
			k.urgent = append(k.urgent, fn)
			return
		}
		k.do(fn)
	})
}

// do runs fn now, or once a stopped process goes on.
func (k *worker) do(fn func()) {
	switch {
	case !k.alive:
	case k.hung:
		k.inbox = append(k.inbox, fn)
	default:
		fn()
	}
}

// resume lets a stopped process go on with what came meanwhile.
func (k *worker) resume() {
	k.hung = false
	box := append(k.urgent, k.inbox...)
	k.urgent, k.inbox = nil, nil
	for _, fn := range box {
		k.do(fn)
	}
}

func (k *worker) setPaused(p bool) {
	k.paused = p
	if !p {
		k.moved = k.w.now
		k.advance()
	}
}

// setView takes the newest view: whatever went on in an older one is over.
func (k *worker) setView(v view.View, ring []*worker) {
	if v.Epoch <= k.view.Epoch || k.w.opt.bug == bugKeepsOldView && k.phase == stepping && k.ready {
		return
	}
	k.view, k.rank, k.ring = v, v.Rank(k.id), ring
	k.sums, k.ready, k.agreed, k.moved, k.phase = nil, false, false, k.w.now, idle
	if k.rank < 0 {
		return
	}
	k.phase = syncing
	k.watch(v.Epoch)
	if k.rank == 0 {
		k.receive(token{kind: gather, epoch: v.Epoch})
	}
	box := k.early
	k.early = nil
	for _, t := range box {
		k.receive(t)
	}
}

// watch gives up a ring in which nothing moves. A paused or finished worker waits without limit.
func (k *worker) watch(epoch uint64) {
	limit := time.Second + time.Duration(len(k.ring))*10*time.Millisecond
	k.w.after(max(k.moved+limit-k.w.now, limit/8), func() {
		k.do(func() {
			if k.view.Epoch != epoch || k.phase != syncing && k.phase != stepping {
				return
			}
			if !k.paused && !k.done() && k.w.now >= k.moved+limit {
				k.giveUp(epoch, k.ring[(k.rank+len(k.ring)-1)%len(k.ring)], "no answer in time")
				return
			}
			k.watch(epoch)
		})
	})
}

// giveUp aborts the ring of an epoch and tells the launcher.
func (k *worker) giveUp(epoch uint64, peer *worker, why string) {
	if !k.alive || k.view.Epoch != epoch || k.phase != syncing && k.phase != stepping {
		return
	}
	k.phase = gaveUp
	k.w.tracef(k.id, "gives up epoch %d: %s: %s", epoch, peer.id, why)
	k.w.after(50*time.Microsecond+k.w.upTo(time.Millisecond), func() {
		k.host.step(view.Broken{Epoch: epoch, Worker: k.id, Peer: peer.id, Reason: why})
	})
}

// send carries a token to a rank. To a dead process it fails soon where its host can answer; into a cut line it fails
// late, or only the watch finds out.
func (k *worker) send(rank int, t token) {
	to, epoch := k.ring[rank], k.view.Epoch
	k.w.after(k.w.net.delay()/4, func() {
		switch {
		case k.w.net.connected(k.host.self.ID, to.host.self.ID) && to.alive:
			to.do(func() { to.receive(t) })
		case k.w.net.connected(k.host.self.ID, to.host.self.ID) && to.host.up:
			k.do(func() { k.giveUp(epoch, to, "connection reset") })
		default:
			k.w.after(k.w.upTo(2*time.Second), func() { k.do(func() { k.giveUp(epoch, to, "no acknowledgement") }) })
		}
	})
}

// kill ends the process. Ring neighbours see their connections reset, unless its host went down with it; the launcher
// reaps it.
func (k *worker) kill() {
	if !k.alive {
		return
	}
	k.alive = false
	for _, o := range k.ring {
		if epoch := k.view.Epoch; o.alive && k.host.up && o.view.Epoch == epoch && k.w.net.connected(k.host.self.ID, o.host.self.ID) && k.w.rng.IntN(2) == 0 {
			k.w.after(k.w.net.delay()/4, func() { o.do(func() { o.giveUp(epoch, k, "connection reset") }) })
		}
	}
	k.w.after(time.Millisecond+k.w.upTo(4*time.Millisecond), func() { k.host.reap(k) })
}
