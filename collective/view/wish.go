package view

import (
	"slices"
	"time"
)

// wish is what this host remembers in order to know which view it wants next. None of it matters for safety.
type wish struct {
	joinSince   time.Duration // since when somebody waits to be let in, never if nobody does
	complaint   broken        // the first one about the newest epoch
	brokenSince time.Duration
	renewals    int            // epochs in a row with the same members
	tally       map[string]int // worker -> epochs in which it was part of the first complaint
	leftOut     map[string]time.Duration
	decidedAt   time.Duration
}

func newWish() wish {
	return wish{joinSince: never, tally: map[string]int{}, leftOut: map[string]time.Duration{}}
}

// calm is how many BrokenWaits an epoch has to last for old complaints to be forgotten.
const calm = 20

// decided starts a new epoch.
func (w *wish) decided(m *Machine, before View) {
	if sameMembers(before, m.view) {
		w.renewals++
	} else {
		w.renewals = 0
	}
	if m.now-w.decidedAt > calm*m.cfg.BrokenWait {
		w.renewals = 0
		clear(w.tally)
	}
	w.decidedAt, w.joinSince, w.complaint = m.now, never, broken{}
	w.complain(m, m.news.Broken)
	for _, p := range m.peers {
		w.complain(m, p.news.Broken)
	}
}

// complain takes a complaint, if it is about the newest epoch.
func (w *wish) complain(m *Machine, b broken) {
	if b.Epoch != m.view.Epoch || b.Epoch == 0 {
		return
	}
	if i := m.view.Rank(b.Peer); i >= 0 {
		if p := m.byID[m.view.Workers[i].Host]; p != nil && !p.accused {
			p.accused, m.dirty = true, true
		}
	}
	if w.complaint.Epoch == b.Epoch {
		return
	}
	w.complaint, w.brokenSince, m.dirty = b, m.now, true
	if m.view.Rank(b.Peer) >= 0 && m.view.Rank(b.Worker) >= 0 {
		w.tally[b.Peer]++
		w.tally[b.Worker]++
	}
}

// renewal reports whether the newest epoch is broken and nothing explained it in time.
func (w *wish) renewal(m *Machine) bool {
	if w.complaint.Epoch != m.view.Epoch || m.view.Epoch == 0 {
		return false
	}
	due := w.brokenSince + m.cfg.BrokenWait<<min(w.renewals, 5)
	m.until(due)
	return m.now >= due
}

// strike leaves out the worker that spoiled too many epochs in a row: the accused one, or the accuser where it was part
// of more of them.
func (w *wish) strike(m *Machine, workers int) {
	worst := w.complaint.Peer
	if w.tally[w.complaint.Worker] > w.tally[worst] {
		worst = w.complaint.Worker
	}
	if m.cfg.Strikes > 0 && w.tally[worst] >= m.cfg.Strikes && workers > max(m.cfg.MinWorkers, 1) && m.view.Rank(worst) >= 0 {
		w.leftOut[worst] = m.now + m.cfg.Penalty
		delete(w.tally, worst)
	}
}

// leads reports whether it is this host's turn to propose: no host before it in the view is up and hears a quorum.
func (m *Machine) leads() bool {
	for i, h := range m.view.Hosts {
		if i == m.place {
			return true
		}
		if m.alive(h.ID) && m.byID[h.ID].quorate {
			return false
		}
	}
	return false
}

// pursue proposes the view that this host wants, if it is its turn and there is anything to want.
func (m *Machine) pursue() {
	switch {
	case m.place < 0:
		return
	case !m.leads() && !m.stuck():
		m.proposal = proposal{}
		return
	case m.now < m.quietTill:
		m.until(m.quietTill)
		return
	}
	if m.proposal.ballot != 0 {
		if m.now >= m.proposal.resendAt {
			m.resend()
		}
		m.until(m.proposal.resendAt)
		return
	}
	next, ok := m.desired()
	if !ok && m.stuck() {
		next, ok = m.acceptor.value, true
	}
	if ok {
		m.propose(next)
		m.until(m.proposal.resendAt)
	}
}

// stuck reports whether this host accepted a view long ago and never heard that it was decided: then it finishes what
// the proposer did not, hosts one after the other.
func (m *Machine) stuck() bool {
	if m.acceptor.at == 0 {
		return false
	}
	t := m.acceptor.since + m.cfg.LostAfter/2 + 2*m.cfg.Retry*time.Duration(m.place)
	m.until(t)
	return m.now >= t
}

// joiners are the hosts outside the view that ask to be let in, in the order in which they were first heard.
func (m *Machine) joiners() []*peer {
	var in []*peer
	for _, p := range m.peers {
		if p.news.Seq > 0 && !p.news.Leaving && !m.isMember(p.host.ID) && (p.founder == "" || p.founder == m.view.Founder) && m.alive(p.host.ID) {
			in = append(in, p)
		}
	}
	return in
}

// desired returns the view that should follow the newest one, or false where there is nothing to change, nothing that
// this host may propose, or a reason to wait.
func (m *Machine) desired() (View, bool) {
	// Who cannot reach a quorum proposes nothing: a minority that guesses at its surroundings would only be heard by
	// those whom it does not hear.
	if !m.view.Quorum(m.alive) {
		return View{}, false
	}
	var kept []Host
	for _, h := range m.view.Hosts {
		if m.alive(h.ID) && !m.newsOf(h.ID).Leaving {
			kept = append(kept, h)
		}
	}
	// At most as many new hosts as stay: should the new ones vanish at once, those who stay can still decide.
	waiting := m.joiners()
	joined := waiting[:min(len(waiting), max(len(kept), 1), MaxHosts-len(kept))]
	if len(kept)+len(joined) == 0 {
		return View{}, false // the last host leaves: nothing to agree on
	}
	next := View{Epoch: m.view.Epoch + 1, Founder: m.view.Founder}
	next.Hosts = seat(kept, joined)
	if m.wish.renewal(m) {
		m.wish.strike(m, len(m.view.Workers))
	}
	var have int
	next.Workers, have = m.workersOf(next.Hosts)
	d := difference(m.view, next)
	switch {
	case d.removes():
	case d.adds():
		m.wish.joinSince = min(m.wish.joinSince, m.now)
		if t := m.wish.joinSince + m.cfg.Settle; m.now < t {
			m.until(t)
			return View{}, false
		}
	case m.wish.renewal(m):
	default:
		m.wish.joinSince = never
		return View{}, false
	}
	next.Reason, next.Guard = m.reason(d, have), m.cfg.rules.guard(m, next)
	return next, true
}

// seat puts those who stay first, in their order, then the new ones; witnesses behind all launchers.
func seat(kept []Host, joined []*peer) []Host {
	all := slices.Clone(kept)
	for _, p := range joined {
		all = append(all, p.host)
	}
	slices.SortStableFunc(all, func(a, b Host) int {
		switch {
		case a.Witness == b.Witness:
			return 0
		case b.Witness:
			return -1
		}
		return 1
	})
	return all
}

// newsOf returns what a host said last. What it said may be older than the newest view: workers that are in the view
// and of which it did not speak yet are added.
func (m *Machine) newsOf(id string) announcement {
	if id == m.cfg.Self.ID {
		return m.news
	}
	var a announcement
	p := m.byID[id]
	if p != nil {
		a = p.news
		if p.knew >= m.view.Epoch {
			return a
		}
		a.Workers = slices.Clip(a.Workers)
	}
	for _, w := range m.view.Workers {
		if w.Host == id && !slices.ContainsFunc(a.Workers, w.same) && !m.ended(w, m.view) {
			a.Workers = append(a.Workers, w)
		}
	}
	return a
}

// ended reports whether a worker of a view is known to have ended: its launcher had it before and has it no more, or
// knew the view and did not have it.
func (m *Machine) ended(w Worker, v View) bool {
	if w.Host == m.cfg.Self.ID {
		return !slices.ContainsFunc(m.news.Workers, w.same)
	}
	p := m.byID[w.Host]
	return p != nil && (p.dead || p.ended[w.ID] || p.knew >= v.Epoch && !slices.ContainsFunc(p.news.Workers, w.same))
}

// workersOf unites the workers that hosts announce: those already in the view first where there are too many, none where
// there are too few. have is how many there are.
func (m *Machine) workersOf(hosts []Host) (workers []Worker, have int) {
	senior := make(map[string]bool, len(m.view.Workers))
	for _, w := range m.view.Workers {
		senior[w.ID] = true
	}
	seniors, seen := 0, map[string]bool{}
	for _, h := range hosts {
		if h.Witness {
			continue
		}
		for _, w := range m.newsOf(h.ID).Workers {
			if t, out := m.wish.leftOut[w.ID]; out && m.now < t {
				m.until(t)
				continue
			}
			if seen[w.ID] {
				continue
			}
			seen[w.ID] = true
			workers = append(workers, w)
			if senior[w.ID] {
				seniors++
			}
		}
	}
	have = len(workers)
	if have < m.cfg.MinWorkers {
		return nil, have
	}
	juniors := max(m.cfg.MaxWorkers-seniors, 0)
	return slices.DeleteFunc(workers, func(w Worker) bool {
		if senior[w.ID] {
			return false
		}
		juniors--
		return juniors < 0
	}), have
}
