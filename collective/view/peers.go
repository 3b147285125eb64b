package view

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"time"
)

// peer is what this host knows about another one.
type peer struct {
	host    Host
	heard   time.Duration // when its last message came, or when it entered the view
	lost    bool          // declared dead at lostAt, and silent since
	lostAt  time.Duration
	dead    bool   // its address was taken over: that launcher, and so its workers, are gone
	seen    bool   // gossip knows it
	accused bool   // a worker gave up on one of its workers in this epoch
	quorate bool   // it says that it hears a quorum
	founder string // the job that it belongs to, "" for none yet
	epoch   uint64
	news    announcement    // newest by Seq; Seq 0 is none
	knew    uint64          // epoch that it knew when it said so
	ended   map[string]bool // workers that it had, and has no more
	raw     []byte          // the last announcement as it came, to recognise one that says nothing new
}

func (m *Machine) peer(h Host) *peer {
	p := m.byID[h.ID]
	if p == nil {
		p = &peer{host: h, heard: m.now, quorate: true}
		m.byID[h.ID] = p
		m.peers = append(m.peers, p)
		m.dirty = true
	}
	return p
}

// alive reports whether a host counts as up, and asks for a review when that may end. One on whose workers others gave
// up has half the time.
func (m *Machine) alive(id string) bool {
	if id == m.cfg.Self.ID {
		return true
	}
	p := m.byID[id]
	if p == nil || p.lost {
		return false
	}
	_, patience := m.cfg.Interval(len(m.view.Hosts))
	if p.accused {
		patience /= 2
	}
	m.until(p.heard + patience)
	return m.now < p.heard+patience
}

// hear notes that a message of p came. One that comes right behind the news of p's death was sent before it.
func (m *Machine) hear(p *peer) {
	if p.lost && (p.dead || m.now < p.lostAt+m.cfg.Heartbeat/2) {
		return
	}
	if _, patience := m.cfg.Interval(len(m.view.Hosts)); p.lost || m.now >= p.heard+patience/2 {
		m.dirty = true
	}
	p.heard, p.lost = m.now, false
}

func (m *Machine) seen(h Host) {
	if h.ID == m.cfg.Self.ID || h.validate() != nil || len(m.peers) >= 4*MaxHosts && m.byID[h.ID] == nil {
		return
	}
	p := m.peer(h)
	if !p.seen {
		p.seen = true
		if m.place < 0 || !m.hears {
			m.announceTo([]Host{h}, false)
		}
	}
}

func (m *Machine) lost(id string) {
	if p := m.byID[id]; p != nil {
		p.seen = false
		if !p.lost {
			p.lost, p.lostAt, m.dirty = true, m.now, true
		}
	}
}

// forget drops hosts that are in no view and silent: restarted launchers come back under new names.
func (m *Machine) forget() {
	_, patience := m.cfg.Interval(len(m.view.Hosts))
	m.peers = slices.DeleteFunc(m.peers, func(p *peer) bool {
		_, in := m.view.Host(p.host.ID)
		drop := !in && !p.seen && m.now >= p.heard+10*patience
		if drop {
			delete(m.byID, p.host.ID)
		}
		return drop
	})
}

// audience is whom this host tells about itself: the other hosts of the view; also all that gossip knows, from outside
// and where too few of the view answer: they may have gone on without this host, and ended since.
func (m *Machine) audience() []Host {
	var to []Host
	for _, h := range m.view.Hosts {
		if h.ID != m.cfg.Self.ID {
			to = append(to, h)
		}
	}
	if m.place >= 0 && m.hears {
		return to
	}
	for _, p := range m.peers {
		if _, in := m.view.Host(p.host.ID); p.seen && !in {
			to = append(to, p.host)
		}
	}
	return to
}

func (m *Machine) announceTo(to []Host, lossy bool) {
	if m.wire == nil {
		m.wire = (&message{
			kind: announce, founder: m.view.Founder, from: m.cfg.Self, epoch: m.view.Epoch, quorate: m.hears, news: m.news,
		}).encode()
	}
	for _, h := range to {
		if !m.acceptor.silent(h.ID) {
			m.emit(Send{To: h, Data: m.wire, Lossy: lossy})
		}
	}
}

// beat sends the heartbeat when it is due.
func (m *Machine) beat() {
	if m.now < m.beatAt || m.state == Gone {
		return
	}
	every, _ := m.cfg.Interval(len(m.view.Hosts))
	m.beatAt = m.now + every
	m.announceTo(m.audience(), true)
	m.forget()
}

// receive takes a message of another host.
func (m *Machine) receive(in Message) {
	if p := m.byID[in.From]; p != nil && len(p.raw) > 0 && bytes.Equal(p.raw, in.Data) {
		m.hear(p) // the same announcement once more
		m.compare(p, true)
		return
	}
	msg, err := decode(in.Data)
	switch {
	case err != nil:
	case msg.from.ID != in.From:
		err = fmt.Errorf("message of host %q names %q as its sender", in.From, msg.from.ID)
	case msg.from.ID == m.cfg.Self.ID:
		err = errors.New("message that names this host as its sender")
	case msg.founder == "" && msg.kind != announce:
		err = errors.New("message that names no job")
	case msg.founder != "" && m.view.Founder != "" && msg.founder != m.view.Founder:
		err = fmt.Errorf("host %q belongs to another job of this name, founded by host %q; this one was founded by %q: end one of them", in.From, msg.founder, m.view.Founder)
	case m.byID[in.From] == nil && len(m.peers) >= 4*MaxHosts:
		err = fmt.Errorf("more than %d hosts write to this one", 4*MaxHosts)
	}
	if err != nil {
		m.refuse(in.From, err)
		return
	}
	p := m.peer(msg.from)
	m.hear(p)
	switch msg.kind {
	case announce:
		m.onAnnounce(p, &msg, in.Data)
	case decided:
		p.epoch = max(p.epoch, msg.epoch)
		m.learn(msg.value, in.From)
	default:
		m.vote(p, &msg)
	}
}

func (m *Machine) onAnnounce(p *peer, msg *message, data []byte) {
	if msg.news.Seq < p.news.Seq || msg.epoch < p.epoch {
		return // overtaken by a newer one
	}
	p.raw = append(p.raw[:0], data...)
	m.dirty = m.dirty || msg.news.Seq > p.news.Seq || p.quorate != msg.quorate || p.epoch != msg.epoch
	p.knew = msg.epoch
	for _, w := range p.news.Workers {
		if !slices.ContainsFunc(msg.news.Workers, w.same) {
			if p.ended == nil || len(p.ended) > MaxWorkers {
				p.ended = map[string]bool{}
			}
			p.ended[w.ID] = true
		}
	}
	p.host, p.founder, p.epoch, p.quorate, p.news = msg.from, msg.founder, msg.epoch, msg.quorate, msg.news
	for _, old := range m.peers { // a launcher that took over the address of another one has replaced it
		if old != p && old.host.Addr == p.host.Addr && p.host.Addr != "" && !old.lost && m.isMember(old.host.ID) && !m.isMember(p.host.ID) {
			old.lost, old.lostAt, old.dead, m.dirty = true, m.now, true, true
		}
	}
	m.wish.complain(m, p.news.Broken)
	m.compare(p, false)
}

func (m *Machine) isMember(id string) bool { _, in := m.view.Host(id); return in }

// compare brings the one who knows the older view up to date. Among many hosts all but the proposer answer only who says
// so again, or a newcomer would get the view from everyone.
func (m *Machine) compare(p *peer, again bool) {
	switch {
	case p.epoch < m.view.Epoch && len(m.view.Hosts) > hostsPerHeartbeat && !again && !m.leads():
	case p.epoch < m.view.Epoch:
		m.sendView(p.host)
	case p.epoch > m.view.Epoch:
		m.announceTo([]Host{p.host}, false)
	}
}

func (m *Machine) sendView(to Host) {
	m.emit(Send{To: to, Data: (&message{
		kind: decided, founder: m.view.Founder, from: m.cfg.Self, epoch: m.view.Epoch, value: m.view,
	}).encode()})
}
