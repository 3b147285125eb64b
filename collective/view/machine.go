package view

import (
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"slices"
	"time"
)

// never is a time that does not come.
const never = time.Duration(math.MaxInt64)

// Machine is one host's part in the agreement. Make it with New; it is not safe for concurrent use.
type Machine struct {
	cfg     Config
	rng     *rand.Rand
	now     time.Duration
	out     []Output
	started bool
	state   State
	hears   bool // a quorum was heard of late

	view     View
	place    int   // of this host in view.Hosts, -1 outside
	at       int64 // number of views learned, for notes
	peers    []*peer
	byID     map[string]*peer
	news     announcement // this host's own
	noted    int64        // value of at when news.Note was written
	wire     []byte       // news encoded, nil when stale
	beatAt   time.Duration
	checkAt  time.Duration // when time alone may change what review finds
	dirty    bool          // something else changed it
	refusals map[string]bool

	acceptor  acceptor
	proposal  proposal
	highest   ballot        // seen in this instance
	attempts  int           // proposals of this instance that were rejected
	quietTill time.Duration // back-off
	wish      wish

	past                 []past
	holdTill, missedTill time.Duration // local workers are held back; own proposals are guarded
	leaveBy              time.Duration
	resendAt             time.Duration // a leaver tells others the view without it
}

// New returns a machine that waits for Start, or Config.Validate's error. Durations and limits that are 0 where 0 makes
// no sense are refused: begin with DefaultConfig.
func New(cfg Config) (*Machine, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg.MinWorkers = max(cfg.MinWorkers, 1)
	if cfg.MaxWorkers == 0 {
		cfg.MaxWorkers = MaxWorkers
	}
	cfg.rules = cfg.rules.orDefault()
	h := fnv.New64a()
	h.Write([]byte(cfg.Self.ID))
	return &Machine{
		cfg: cfg, rng: rand.New(rand.NewPCG(cfg.Seed, h.Sum64())), place: -1, byID: map[string]*peer{},
		refusals: map[string]bool{}, news: announcement{Seq: 1}, wish: newWish(), beatAt: never, checkAt: never, resendAt: never,
	}, nil
}

// View returns the newest view known, or the zero View. It shares memory with the machine: read only.
func (m *Machine) View() View { return m.view }

// State returns how this host stands to the job.
func (m *Machine) State() State { return m.state }

// Step takes one input and returns what to do, in order, Wake last. Time must not go back. The slice is valid until
// the next call. Nothing but Start may come first; after Left nothing has an effect.
func (m *Machine) Step(now time.Duration, in Input) []Output {
	m.now, m.out = max(now, m.now), m.out[:0]
	if m.state == Gone || !m.started && !isStart(in) {
		return append(m.out, Wake{never})
	}
	switch in := in.(type) {
	case Start:
		m.start(in)
	case Message:
		m.receive(in)
	case Workers:
		m.setWorkers(in)
	case Broken:
		m.setBroken(in)
	case Seen:
		m.seen(in.Host)
	case Lost:
		m.lost(in.ID)
	case Leave:
		m.leave()
	}
	if m.now >= m.checkAt {
		m.dirty = true
	}
	m.review()
	m.beat()
	if m.state == Gone {
		return append(m.out, Wake{never})
	}
	return append(m.out, Wake{min(m.beatAt, m.checkAt)})
}

func isStart(in Input) bool {
	_, ok := in.(Start)
	return ok
}

func (m *Machine) emit(o Output) { m.out = append(m.out, o) }

func (m *Machine) start(in Start) {
	if m.started {
		return
	}
	m.started, m.dirty, m.beatAt = true, true, m.now
	m.emit(Standing{Joining, "looking for the job's other hosts"})
	if !in.Found {
		return
	}
	m.learn(View{
		Epoch: 1, Founder: m.cfg.Self.ID, Hosts: []Host{m.cfg.Self},
		Reason: clip("host " + m.cfg.Self.ID + " founded the job"),
	}, "")
}

// setWorkers takes the list of local workers. A death or an arrival is announced at once; a new speed waits for the
// next heartbeat.
func (m *Machine) setWorkers(in Workers) {
	list := slices.Clone(in.Workers)
	if most := map[bool]int{false: MaxWorkers}[m.cfg.Self.Witness]; len(list) > most {
		m.refuse(m.cfg.Self.ID, fmt.Errorf("this host reports %d workers, at most %d are possible (a witness has none)", len(list), most))
		return
	}
	for i := range list {
		list[i].Host = m.cfg.Self.ID
		if err := list[i].validate(); err != nil {
			m.refuse(m.cfg.Self.ID, fmt.Errorf("workers of this host: %w", err))
			return
		}
	}
	gone := slices.ContainsFunc(m.news.Workers, func(w Worker) bool { return !slices.ContainsFunc(list, w.same) })
	same := !gone && len(list) == len(m.news.Workers)
	if gone {
		note := in.Reason
		if m.noted == m.at && m.news.Note != "" { // not reported by a view yet
			note = m.news.Note + "; " + note
		}
		m.news.Note, m.noted = clip(note), m.at
	}
	m.news.Workers = list
	m.changed(!same)
}

// same reports whether two entries mean one process at one place; their speeds may differ.
func (w Worker) same(o Worker) bool {
	o.Speed = w.Speed
	return w == o
}

func (m *Machine) setBroken(in Broken) {
	if in.Epoch != m.view.Epoch || m.news.Broken.Epoch == in.Epoch {
		return
	}
	m.news.Broken = broken{in.Epoch, clipTo(in.Worker, MaxName), clipTo(in.Peer, MaxName), clip(in.Reason)}
	m.wish.complain(m, m.news.Broken)
	m.changed(true)
}

// changed notes that this host's announcement is another one now.
func (m *Machine) changed(urgent bool) {
	m.news.Seq++
	m.wire = nil
	if urgent {
		m.dirty = true
		m.announceTo(m.audience(), false)
	}
}

// review acts on the state as it is now, until nothing follows from it any more: a decision on one host is followed by
// the next one in the same call.
func (m *Machine) review() {
	for m.dirty && m.state != Gone {
		m.dirty, m.checkAt = false, never
		m.stand()
		m.pursue()
		m.depart()
	}
}

// until asks for a review at t.
func (m *Machine) until(t time.Duration) {
	if t > m.now {
		m.checkAt = min(m.checkAt, t)
	}
}

// stand works out how this host stands to the job, and says so when that changes.
func (m *Machine) stand() {
	_, lostAfter := m.cfg.Interval(len(m.view.Hosts))
	n := 0
	hears := m.view.Quorum(func(id string) bool {
		if id == m.cfg.Self.ID {
			n++
			return true
		}
		p := m.byID[id]
		if p == nil || p.lost || m.now >= p.heard+lostAfter/2 {
			return false
		}
		m.until(p.heard + lostAfter/2)
		n++
		return true
	})
	if hears != m.hears {
		m.hears, m.wire = hears, nil
		if m.place >= 0 { // others choose who proposes by this
			m.announceTo(m.audience(), false)
		}
	}
	state, reason := Member, fmt.Sprintf("in view %d", m.view.Epoch)
	switch {
	case m.news.Leaving:
		state, reason = Leaving, "leaving"
	case m.place < 0:
		state, reason = Joining, "asks to be let into the next view"
	case m.now < m.holdTill:
		state, reason = Waiting, "workers of lost hosts may still be running: waits until they must have paused"
		m.until(m.holdTill)
	case !hears:
		state, reason = Waiting, fmt.Sprintf("%d of %d hosts answer: too few to decide anything", min(n, len(m.view.Hosts)), len(m.view.Hosts))
	}
	if state != m.state {
		m.state = state
		m.emit(Standing{state, reason})
	}
}

// refuse reports a dropped message, each kind of complaint about a sender once.
func (m *Machine) refuse(from string, err error) {
	key := clipTo(from, MaxName) + "\x00" + err.Error()
	if len(m.refusals) > 256 {
		clear(m.refusals)
	}
	if !m.refusals[key] {
		m.refusals[key] = true
		m.emit(Refused{from, err})
	}
}

func clip(s string) string { return clipTo(s, MaxReason) }

func clipTo(s string, n int) string {
	if len(s) > n {
		return s[:n-3] + "..."
	}
	return s
}
