package view

import (
	"fmt"
	"time"
)

// acceptor is this host's vote in the instance that decides the view after the newest known one. It lives in memory
// only: a launcher that restarts is another host, and an instance that is decided takes no more votes.
type acceptor struct {
	promised ballot
	at       ballot // where value was accepted, 0 none
	value    View
	since    time.Duration // when the first value was accepted
}

// proposal is this host's attempt to get a view decided; ballot 0 is none.
type proposal struct {
	ballot   ballot
	value    View
	at       ballot // phase 1: the highest ballot at which a promise reports a value, which replaces value
	phase    int
	votes    map[string]bool // of hosts, in this phase
	resendAt time.Duration
}

// rules are the decisions on which safety rests. Tests put broken ones in, and the simulator must find them.
type rules struct {
	quorum  func(m *Machine, next View, voted func(id string) bool) bool // may these votes decide?
	promise func(b, promised ballot) bool                                // may an acceptor promise b?
	accept  func(b, promised ballot) bool                                // may it accept at b?
	adopt   func(at, best ballot) bool                                   // must a value accepted at at replace the proposed one?
	guard   func(m *Machine, next View) bool                             // must the workers of next wait for those of lost hosts?
}

func (r rules) orDefault() rules {
	if r.quorum == nil { // a quorum of the newest decided view, whatever the next one looks like
		r.quorum = func(m *Machine, _ View, voted func(string) bool) bool { return m.view.Quorum(voted) }
	}
	if r.promise == nil {
		r.promise = func(b, promised ballot) bool { return b >= promised } // equal: asked once more
	}
	if r.accept == nil {
		r.accept = func(b, promised ballot) bool { return b >= promised }
	}
	if r.adopt == nil {
		r.adopt = func(at, best ballot) bool { return at > best }
	}
	if r.guard == nil {
		r.guard = (*Machine).guarded
	}
	return r
}

// firstBallot belongs to the first host of the view and needs no phase 1: no lower ballot exists, so nothing can have
// been accepted below it.
var firstBallot = newBallot(1, 0)

func (m *Machine) propose(v View) {
	v.Epoch, v.Founder = m.view.Epoch+1, m.view.Founder
	if err := v.Validate(); err != nil {
		m.refuse(m.cfg.Self.ID, fmt.Errorf("own proposal: %w", err))
		return
	}
	if m.place == 0 && m.acceptor.promised == 0 {
		m.proposal = proposal{ballot: firstBallot, value: v}
		m.phase2()
		return
	}
	round := max(m.acceptor.promised.round(), m.highest.round()) + 1
	m.proposal = proposal{ballot: newBallot(max(round, 2), m.place), value: v, phase: 1, votes: map[string]bool{}}
	m.acceptor.promised = m.proposal.ballot
	m.promised(m.cfg.Self.ID, m.acceptor.at, m.acceptor.value)
	if m.proposal.phase == 1 {
		m.resend()
	}
}

// resend asks those who have not voted yet.
func (m *Machine) resend() {
	m.proposal.resendAt = m.now + m.cfg.Retry
	msg := message{
		kind: prepare, founder: m.view.Founder, from: m.cfg.Self, epoch: m.view.Epoch + 1,
		ballot: m.proposal.ballot, value: m.proposal.value,
	}
	if m.proposal.phase == 2 {
		msg.kind = accept
	}
	data := msg.encode()
	for _, h := range m.view.Hosts {
		if h.ID != m.cfg.Self.ID && !m.proposal.votes[h.ID] {
			m.emit(Send{To: h, Data: data})
		}
	}
}

// promised counts a promise; a quorum of them starts phase 2 with the value accepted at the highest ballot, if any.
func (m *Machine) promised(id string, at ballot, value View) {
	p := &m.proposal
	p.votes[id] = true
	if at > 0 && m.cfg.rules.adopt(at, p.at) {
		p.at, p.value = at, value
	}
	if m.cfg.rules.quorum(m, p.value, func(id string) bool { return p.votes[id] }) {
		m.phase2()
	}
}

// phase2 asks for votes, this host's own first. Where it promised a rival more since it began, that vote is no longer free to
// give: the rival may already count on nothing having been accepted here.
func (m *Machine) phase2() {
	p := &m.proposal
	if !m.cfg.rules.accept(p.ballot, m.acceptor.promised) {
		m.backOff()
		return
	}
	p.phase, p.votes = 2, map[string]bool{}
	m.acceptor.take(m.now, p.ballot, p.value)
	m.accepted(m.cfg.Self.ID)
	if m.proposal.ballot != 0 {
		m.resend()
	}
}

// accepted counts a vote for the value; a quorum decides it.
func (m *Machine) accepted(id string) {
	p := &m.proposal
	p.votes[id] = true
	if !m.cfg.rules.quorum(m, p.value, func(id string) bool { return p.votes[id] }) {
		return
	}
	before := m.view
	m.learn(p.value.Clone(), "")
	for _, h := range before.Hosts {
		if h.ID != m.cfg.Self.ID && !m.isMember(h.ID) {
			m.sendView(h)
		}
	}
	for _, h := range m.view.Hosts {
		if h.ID != m.cfg.Self.ID {
			m.sendView(h)
		}
	}
}

// vote handles the messages of an instance. Only hosts of the newest view take part in the one after it.
func (m *Machine) vote(p *peer, msg *message) {
	p.epoch = max(p.epoch, msg.epoch-1)
	if msg.epoch != m.view.Epoch+1 {
		m.compare(p, true)
		return
	}
	if m.place < 0 || !m.isMember(p.host.ID) {
		return
	}
	m.highest = max(m.highest, msg.ballot, msg.at)
	own := m.proposal.ballot == msg.ballot && m.proposal.ballot != 0
	switch msg.kind {
	case prepare, accept:
		if place := msg.ballot.place(); place >= len(m.view.Hosts) || m.view.Hosts[place].ID != p.host.ID {
			m.refuse(p.host.ID, fmt.Errorf("host %q proposes with the ballot of another host", p.host.ID))
			return
		}
		m.answer(p, msg)
	case promise:
		if own && m.proposal.phase == 1 {
			m.promised(p.host.ID, msg.at, msg.value)
		}
	case accepted:
		if own && m.proposal.phase == 2 {
			m.accepted(p.host.ID)
		}
	case reject:
		if own {
			m.backOff()
		}
	}
}

func (a *acceptor) take(now time.Duration, b ballot, v View) {
	if a.at == 0 {
		a.since = now
	}
	a.promised, a.at, a.value = b, b, v
}

// silent reports whether this host must not be heard by another one: it accepted a view whose workers wait only until
// that one hears no quorum any more.
func (a *acceptor) silent(to string) bool {
	if a.at == 0 || !a.value.Guard {
		return false
	}
	_, in := a.value.Host(to)
	return !in
}

// answer is the acceptor.
func (m *Machine) answer(p *peer, msg *message) {
	a := &m.acceptor
	reply := message{kind: reject, founder: m.view.Founder, from: m.cfg.Self, epoch: msg.epoch, ballot: msg.ballot, at: a.promised}
	switch {
	case msg.kind == prepare && m.cfg.rules.promise(msg.ballot, a.promised):
		a.promised = msg.ballot
		reply.kind, reply.at, reply.value = promise, a.at, a.value
	case msg.kind == accept && m.cfg.rules.accept(msg.ballot, a.promised):
		a.take(m.now, msg.ballot, msg.value)
		reply.kind = accepted
	}
	m.emit(Send{To: p.host, Data: reply.encode()})
}

// backOff gives a rival time: up to 2^attempts retry intervals, at random (Renesse, Altinbuken, "Paxos Made Moderately
// Complex", 2015, section 3).
func (m *Machine) backOff() {
	m.proposal = proposal{}
	m.attempts = min(m.attempts+1, 5)
	m.quietTill = m.now + m.cfg.Retry/2 + time.Duration(m.rng.Int64N(int64(m.cfg.Retry)<<m.attempts))
	m.dirty = true
}

// learn takes a decided view; from is who told, "" where this host decided it. The instance it belongs to, and all
// before it, are over for this host.
func (m *Machine) learn(v View, from string) {
	switch {
	case v.Epoch == m.view.Epoch && !v.Equal(m.view):
		m.refuse(from, fmt.Errorf("host %q knows another view %d than this host: the agreement is broken, stop the job", from, v.Epoch))
		return
	case v.Epoch <= m.view.Epoch:
		return
	case v.Epoch > m.view.Epoch+maxJump && m.view.Epoch > 0 || v.Epoch > 1<<40:
		m.refuse(from, fmt.Errorf("host %q claims view %d, this host knows %d: no job changes so often", from, v.Epoch, m.view.Epoch))
		return
	}
	before := m.view
	m.view, m.at = v, m.at+1
	m.acceptor, m.proposal, m.highest, m.attempts, m.quietTill = acceptor{}, proposal{}, 0, 0, 0
	m.place = -1
	var fresh []Host
	for i, h := range v.Hosts {
		if h.ID == m.cfg.Self.ID {
			m.place = i
			continue
		}
		p := m.peer(h)
		if _, was := before.Host(h.ID); !was {
			p.heard, p.lost = m.now, p.dead // time to be heard
			fresh = append(fresh, h)
		}
		p.accused = false
	}
	if v.Guard {
		_, old := m.cfg.Interval(len(before.Hosts))
		_, now := m.cfg.Interval(len(v.Hosts))
		m.holdTill = m.now + max(old, now)
	}
	m.wire, m.dirty = nil, true
	m.replace(before)
	m.wish.decided(m, before)
	m.emit(Decided{v})
	m.announceTo(fresh, false)
	if h, in := m.byID[from]; in && !m.isMember(from) {
		m.announceTo([]Host{h.host}, false) // a leaver waits for this
	}
	if m.place < 0 {
		m.beatAt = m.now // ask to be let in
	}
}

// maxJump is how many views a host may have missed: one a second for twelve days.
const maxJump = 1 << 20
