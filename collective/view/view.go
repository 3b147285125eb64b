package view

import (
	"fmt"
	"slices"
)

// Limits of a view and its parts. A message that exceeds one is refused before memory is taken for it.
const (
	MaxHosts   = 1024    // hosts of a view
	MaxWorkers = 8192    // workers of a view
	MaxName    = 255     // bytes of an ID, address or device
	MaxReason  = 400     // bytes of a reason
	MaxMessage = 4 << 20 // bytes of a message: a Promise that carries the largest view fits
)

// Host is a launcher (or a witness): one vote.
type Host struct {
	ID      string // new at every start of a launcher; this is why no vote needs to be kept on disk
	Addr    string // where its launcher takes messages, host:port
	Witness bool   // votes, has no workers; comes last in a view, so it never breaks a tie before a launcher
}

// Worker is one process that drives one device.
type Worker struct {
	ID     string  // unique in the job, new at every start
	Host   string  // Host.ID of its launcher
	Addr   string  // data address, host:port
	Device string  // cpu, cuda:0, …
	Speed  float64 // lanes per second when the view was proposed, 0 unknown; a change of speed alone makes no new view
}

// View is one agreed membership. Views of one job form a chain: epoch 1, 2, 3, …; no two differ at one epoch.
// The zero View (epoch 0) means none yet.
type View struct {
	Epoch   uint64
	Founder string   // Host.ID of the launcher that founded the job; tells two jobs of one name apart
	Hosts   []Host   // who votes on the next view; the first breaks ties; order of joining, witnesses last
	Workers []Worker // ring order, those of a host together; empty, or at least the job's least number of workers
	Reason  string   // what changed, a sentence: "worker 2 died"
	Guard   bool     // workers of an earlier view may still run, on lost hosts: hosts hold theirs back for LostAfter
}

// Host returns the host with an ID.
func (v View) Host(id string) (Host, bool) {
	i := slices.IndexFunc(v.Hosts, func(h Host) bool { return h.ID == id })
	if i < 0 {
		return Host{}, false
	}
	return v.Hosts[i], true
}

// Rank returns a worker's place in the ring, -1 where it is not in the view.
func (v View) Rank(worker string) int {
	return slices.IndexFunc(v.Workers, func(w Worker) bool { return w.ID == worker })
}

// Clone returns a copy that shares no memory with v.
func (v View) Clone() View {
	v.Hosts, v.Workers = slices.Clone(v.Hosts), slices.Clone(v.Workers)
	return v
}

// Equal reports whether two views are the same in every field.
func (v View) Equal(w View) bool {
	return v.Epoch == w.Epoch && v.Founder == w.Founder && v.Reason == w.Reason && v.Guard == w.Guard &&
		slices.Equal(v.Hosts, w.Hosts) && slices.Equal(v.Workers, w.Workers)
}

// Quorum reports whether the hosts for which has is true may decide the next view: more than half of v.Hosts, or
// exactly half with the first among them. Two such sets always share a host: two disjoint ones would both be exactly
// half, and both would contain the first.
func (v View) Quorum(has func(id string) bool) bool {
	n := 0
	for _, h := range v.Hosts {
		if has(h.ID) {
			n++
		}
	}
	all := len(v.Hosts)
	return 2*n > all || 2*n == all && all > 0 && has(v.Hosts[0].ID)
}

// Validate returns an error that names the first rule that a view breaks.
func (v View) Validate() error {
	switch {
	case v.Epoch == 0:
		return fmt.Errorf("view: epoch is 0, views are numbered from 1")
	case v.Founder == "" || len(v.Founder) > MaxName:
		return fmt.Errorf("view %d: founder has %d bytes, expected 1 to %d", v.Epoch, len(v.Founder), MaxName)
	case len(v.Hosts) == 0 || len(v.Hosts) > MaxHosts:
		return fmt.Errorf("view %d: %d hosts, expected 1 to %d", v.Epoch, len(v.Hosts), MaxHosts)
	case len(v.Workers) > MaxWorkers:
		return fmt.Errorf("view %d: %d workers, at most %d are possible", v.Epoch, len(v.Workers), MaxWorkers)
	case len(v.Reason) > MaxReason:
		return fmt.Errorf("view %d: reason has %d bytes, at most %d are allowed", v.Epoch, len(v.Reason), MaxReason)
	}
	place := make(map[string]int, len(v.Hosts))
	for i, h := range v.Hosts {
		if err := h.validate(); err != nil {
			return fmt.Errorf("view %d: %w", v.Epoch, err)
		}
		if _, twice := place[h.ID]; twice {
			return fmt.Errorf("view %d: host %q is in it twice", v.Epoch, h.ID)
		}
		if i > 0 && v.Hosts[i-1].Witness && !h.Witness {
			return fmt.Errorf("view %d: host %q stands behind witness %q, witnesses come last", v.Epoch, h.ID, v.Hosts[i-1].ID)
		}
		place[h.ID] = i
	}
	seen, last := make(map[string]bool, len(v.Workers)), 0
	for _, w := range v.Workers {
		if err := w.validate(); err != nil {
			return fmt.Errorf("view %d: %w", v.Epoch, err)
		}
		at, ok := place[w.Host]
		switch {
		case !ok:
			return fmt.Errorf("view %d: worker %q belongs to host %q, which is not in the view", v.Epoch, w.ID, w.Host)
		case v.Hosts[at].Witness:
			return fmt.Errorf("view %d: worker %q belongs to witness %q, witnesses have none", v.Epoch, w.ID, w.Host)
		case seen[w.ID]:
			return fmt.Errorf("view %d: worker %q is in it twice", v.Epoch, w.ID)
		case at < last:
			return fmt.Errorf("view %d: worker %q stands apart from the order of the hosts", v.Epoch, w.ID)
		}
		seen[w.ID], last = true, at
	}
	return nil
}

func (h Host) validate() error {
	if h.ID == "" || len(h.ID) > MaxName || len(h.Addr) > MaxName {
		return fmt.Errorf("host %.20q: ID of %d bytes and address of %d, expected 1 to %d and at most %d", h.ID, len(h.ID), len(h.Addr), MaxName, MaxName)
	}
	return nil
}

func (w Worker) validate() error {
	if w.ID == "" || len(w.ID) > MaxName || len(w.Addr) > MaxName || len(w.Device) > MaxName || len(w.Host) > MaxName {
		return fmt.Errorf("worker %.20q: a name of it has no bytes or more than %d", w.ID, MaxName)
	}
	if !(w.Speed >= 0 && w.Speed <= 1e12) {
		return fmt.Errorf("worker %q: speed is %v, expected 0 (unknown) to 1e12 lanes per second", w.ID, w.Speed)
	}
	return nil
}
