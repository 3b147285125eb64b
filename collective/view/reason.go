package view

import (
	"fmt"
	"slices"
	"strings"
)

// change is how a view differs from the one before it.
type change struct {
	hostsGone, hostsNew     []Host
	workersGone, workersNew []Worker // also those of hosts that go or come
}

func (c change) removes() bool { return len(c.hostsGone)+len(c.workersGone) > 0 }
func (c change) adds() bool    { return len(c.hostsNew)+len(c.workersNew) > 0 }

func difference(a, b View) (c change) {
	c.hostsGone, c.hostsNew = missing(a.Hosts, b.Hosts, hostID), missing(b.Hosts, a.Hosts, hostID)
	c.workersGone, c.workersNew = missing(a.Workers, b.Workers, process), missing(b.Workers, a.Workers, process)
	return c
}

func hostID(h Host) string { return h.ID }

// process leaves out what may change while a worker lives.
func process(w Worker) Worker {
	w.Speed = 0
	return w
}

// missing returns the elements of a that b lacks, by key.
func missing[T any, K comparable](a, b []T, key func(T) K) (out []T) {
	has := make(map[K]bool, len(b))
	for _, x := range b {
		has[key(x)] = true
	}
	for _, x := range a {
		if !has[key(x)] {
			out = append(out, x)
		}
	}
	return out
}

func sameMembers(a, b View) bool {
	c := difference(a, b)
	return !c.removes() && !c.adds()
}

// reason says what changed, for people.
func (m *Machine) reason(c change, have int) string {
	var parts []string
	of := func(ws []Worker, host string) (ids []string) {
		for _, w := range ws {
			if w.Host == host {
				ids = append(ids, w.ID)
			}
		}
		return ids
	}
	with := func(ids []string) string {
		if len(ids) == 0 {
			return ""
		}
		return " with " + named("worker", ids)
	}
	for _, h := range c.hostsGone {
		how := " lost"
		if m.newsOf(h.ID).Leaving {
			how = " left"
		}
		parts = append(parts, hostName(h)+how+with(of(c.workersGone, h.ID)))
	}
	for _, h := range m.view.Hosts {
		ids := of(c.workersGone, h.ID)
		if len(ids) == 0 || slices.ContainsFunc(c.hostsGone, func(g Host) bool { return g.ID == h.ID }) {
			continue
		}
		parts = append(parts, m.whyGone(h, ids))
	}
	var late []string
	for _, w := range c.workersNew {
		if m.isMember(w.Host) {
			late = append(late, w.ID)
		}
	}
	for _, h := range c.hostsNew {
		parts = append(parts, hostName(h)+" joined"+with(of(c.workersNew, h.ID)))
	}
	if len(late) > 0 {
		parts = append(parts, named("worker", late)+" joined")
	}
	if have < m.cfg.MinWorkers {
		parts = append(parts, fmt.Sprintf("waiting for workers: %d of at least %d", have, m.cfg.MinWorkers))
	}
	if len(parts) == 0 {
		b := m.wish.complaint
		return clip(fmt.Sprintf("worker %s gave up on worker %s: %s", b.Worker, b.Peer, b.Reason))
	}
	if len(parts) > 5 {
		parts = append(parts[:4], fmt.Sprintf("and %d more changes", len(parts)-4))
	}
	return clip(strings.Join(parts, "; "))
}

// whyGone is what a host said about its workers, or what can be known without.
func (m *Machine) whyGone(h Host, ids []string) string {
	news := m.newsOf(h.ID)
	alive := func(id string) bool {
		return slices.ContainsFunc(news.Workers, func(w Worker) bool { return w.ID == id })
	}
	switch {
	case len(news.Workers) > 0 && !slices.ContainsFunc(ids, func(id string) bool { return !alive(id) }):
		if _, out := m.wish.leftOut[ids[0]]; out {
			return named("worker", ids) + " left out: others gave up on it again and again"
		}
		return named("worker", ids) + " put aside"
	case news.Note != "":
		return news.Note
	}
	return named("worker", ids) + " left"
}

func hostName(h Host) string {
	if h.Witness {
		return "witness " + h.ID
	}
	return "host " + h.ID
}

// named lists up to four names.
func named(what string, ids []string) string {
	if len(ids) == 1 {
		return what + " " + ids[0]
	}
	more := ""
	if len(ids) > 4 {
		more = fmt.Sprintf(" and %d more", len(ids)-4)
		ids = ids[:4]
	}
	return what + "s " + strings.Join(ids, ", ") + more
}
