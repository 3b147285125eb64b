package view

func (m *Machine) leave() {
	if m.news.Leaving {
		return
	}
	m.news.Leaving, m.leaveBy = true, m.now+m.cfg.LeaveWait
	m.changed(true)
}

// depart ends a leaving host's part as soon as it is in no view and a quorum of the view without it knows that view:
// before, it may be the only one who does, and then the others would wait for it for ever.
func (m *Machine) depart() {
	if !m.news.Leaving {
		return
	}
	known := m.view.Epoch == 0 || m.place < 0 && m.view.Quorum(func(id string) bool { return m.byID[id] != nil && m.byID[id].epoch >= m.view.Epoch })
	over := !m.stays() && len(m.joiners()) == 0
	if known || over || m.now >= m.leaveBy {
		m.state = Gone
		m.emit(Left{Reason: map[bool]string{true: "left the job", false: "left without an answer from the other hosts"}[known || over]})
		return
	}
	m.until(m.leaveBy)
	if m.place >= 0 {
		return
	}
	if m.now >= m.resendAt {
		m.resendAt = m.now + m.cfg.Retry
		for _, p := range m.peers {
			if _, in := m.view.Host(p.host.ID); in && p.epoch < m.view.Epoch {
				m.sendView(p.host)
			}
		}
	}
	m.until(m.resendAt)
}

// stays reports whether any other host of the view is there to go on. At the end of a run all leave at once: then there is
// nothing to agree on and nobody to wait for. Who goes without agreement is no worse than one that died.
func (m *Machine) stays() bool {
	for _, h := range m.view.Hosts {
		if p := m.byID[h.ID]; h.ID != m.cfg.Self.ID && (p == nil || !p.news.Leaving && !p.lost) {
			return true
		}
	}
	return false
}
