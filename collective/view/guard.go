package view

import (
	"slices"
	"time"
)

// past is a view that was replaced, and whose workers may not all know that yet.
type past struct {
	view View
	at   time.Duration // when this host learned the next one
}

// replace notes that the newest view is another one than v now. Where views were missed, nothing is known of their
// workers: the next proposals of this host are guarded for a while.
func (m *Machine) replace(v View) {
	if len(v.Workers) > 0 {
		m.past = append(m.past, past{v, m.now})
	}
	if v.Epoch > 0 && m.view.Epoch > v.Epoch+1 {
		_, lostAfter := m.cfg.Interval(len(m.view.Hosts))
		m.missedTill = m.now + lostAfter
	}
}

// guarded reports whether workers of an earlier view may make steps beside those of the next one. A step needs all
// workers of its view, so an earlier view is over as soon as one of them ended, or was told of a later view; and where
// one is in the next view too, that one makes no step before it was told. Otherwise the next view's workers are held back until
// launchers that were lost have paused theirs (docs/views.md, "Fences").
func (m *Machine) guarded(next View) bool {
	_, lostAfter := m.cfg.Interval(len(m.view.Hosts))
	m.past = slices.DeleteFunc(m.past, func(p past) bool { return m.over(p.view) || m.now >= p.at+2*lostAfter })
	beside := func(v View) bool {
		return len(v.Workers) > 0 && !slices.ContainsFunc(v.Workers, func(w Worker) bool { return next.Rank(w.ID) >= 0 })
	}
	return m.now < m.holdTill || m.now < m.missedTill || beside(m.view) && !m.over(m.view) ||
		slices.ContainsFunc(m.past, func(p past) bool { return beside(p.view) })
}

// over reports whether a worker of a view is known to have ended or to have been told of a later view.
func (m *Machine) over(v View) bool {
	return slices.ContainsFunc(v.Workers, func(w Worker) bool {
		if w.Host == m.cfg.Self.ID {
			return m.view.Epoch > v.Epoch || m.news.Leaving || m.ended(w, v)
		}
		p := m.byID[w.Host]
		return m.ended(w, v) || p != nil && (p.news.Leaving || p.epoch > v.Epoch)
	})
}
