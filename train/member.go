package train

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"ringo/collective/control"
	"ringo/collective/ring"
	"ringo/collective/view"
)

// Link is a worker's end of the link to its launcher: a *control.Client.
type Link interface {
	ID() string
	View(ctx context.Context, after uint64) (view.View, error)
	Newest() uint64
	OnView(fn func(epoch uint64))
	Gate(ctx context.Context, epoch uint64) error
	Broken(epoch uint64, peer string, err error) error
	Progress(p control.Progress) error
	Stopping() bool
	StoppingAll() bool
	StopBy() time.Time
}

// Member is a worker's Team over its launcher's link and the data plane.
type Member struct {
	client Link
	listen *ring.Listener
	job    string
	wire   ring.Wire

	mu    sync.Mutex
	epoch uint64
	view  view.View  // the newest that this worker was in
	group *ring.Ring // of the view acted in; nil between views
}

var _ Team = (*Member)(nil)

// NewMember joins a link and a listener for a job. wire is train.wire. The caller reports Ready when it is ready to train,
// and closes both when it is done.
func NewMember(client Link, listen *ring.Listener, job, wire string) (*Member, error) {
	w, err := ring.ParseWire(wire)
	if err != nil {
		return nil, err
	}
	m := &Member{client: client, listen: listen, job: job, wire: w}
	client.OnView(m.moved)
	return m, nil
}

// moved ends a group that a newer view replaces.
func (m *Member) moved(epoch uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.group != nil && epoch > m.epoch {
		m.group.Abort(errMoved)
	}
}

// Self is this worker's id.
func (m *Member) Self() string { return m.client.ID() }

// Newest is the epoch of the newest view heard of.
func (m *Member) Newest() uint64 { return m.client.Newest() }

// Stopping says that this worker was asked to finish its step and leave, and whether all of its host were. While only workers
// that were asked have the state, and another host may soon have a worker to take it, that is not said yet.
func (m *Member) Stopping() (stop, all bool) {
	if !m.client.Stopping() || time.Now().Before(m.client.StopBy()) && m.expectsHeir() {
		return false, false
	}
	return true, m.client.StoppingAll()
}

// expectsHeir reports whether all workers of the view are of this host, while the view has another one that could have
// some: its worker died and is started again, or it is about to come for the first time.
func (m *Member) expectsHeir() bool {
	m.mu.Lock()
	v := m.view
	m.mu.Unlock()
	rank := v.Rank(m.client.ID())
	if rank < 0 {
		return false
	}
	own := v.Workers[rank].Host
	return !slices.ContainsFunc(v.Workers, func(w view.Worker) bool { return w.Host != own }) &&
		slices.ContainsFunc(v.Hosts, func(h view.Host) bool { return h.ID != own && !h.Witness })
}

// Gate holds the worker while its host is cut off from most others.
func (m *Member) Gate(ctx context.Context, epoch uint64) error { return m.client.Gate(ctx, epoch) }

// Broken reports that a group failed, and because of whom where that is known.
func (m *Member) Broken(epoch uint64, err error) {
	if errors.Is(err, ring.ErrAborted) {
		return // a peer left the group on purpose: it heard of a newer view, and so shall we
	}
	var p *ring.PeerError
	peer := ""
	if errors.As(err, &p) {
		peer = p.Peer
	}
	// Without a launcher the process ends by itself; there is nobody to tell.
	_ = m.client.Broken(epoch, peer, err)
}

// Progress reports a step.
func (m *Member) Progress(p Progress) {
	_ = m.client.Progress(control.Progress{Epoch: p.Epoch, Step: p.Step, LaneLo: p.LaneLo, LaneHi: p.LaneHi,
		LanesPerSecond: p.LanesPerSecond, BytesPerSecond: p.BytesPerSecond, RecoveryMS: p.RecoveryMS, RingMS: p.RingMS, AgreedMS: p.AgreedMS})
}

// Join waits for a view newer than `after` that holds this worker and connects to its members.
func (m *Member) Join(ctx context.Context, after uint64) (view.View, Group, error) {
	m.mu.Lock()
	m.group = nil
	m.mu.Unlock()
	for {
		v, err := m.client.View(ctx, after)
		if err != nil {
			return v, nil, err
		}
		after = v.Epoch
		g, err := m.connect(ctx, v)
		if err == nil {
			return v, g, nil
		}
		if ctx.Err() != nil {
			return v, nil, fmt.Errorf("joining view %d: %w", v.Epoch, err)
		}
		if m.client.Newest() <= v.Epoch {
			m.Broken(v.Epoch, err)
		}
	}
}

// Memory maps bytes that workers of this host can reach.
func (m *Member) Memory(n int) (mem []byte, free func() error, err error) {
	s, err := m.listen.NewMemory(n)
	if err != nil {
		return nil, nil, err
	}
	return s.Bytes(), s.Close, nil
}

// connect opens the group of a view; a newer view ends the attempt.
func (m *Member) connect(ctx context.Context, v view.View) (Group, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go m.cancelWhenMoved(ctx, v.Epoch, cancel)
	o := ring.Options{Job: m.job, Epoch: v.Epoch, Self: v.Rank(m.client.ID()), Wire: m.wire}
	for _, w := range v.Workers {
		o.Members = append(o.Members, ring.Member{ID: w.ID, Addr: w.Addr, Host: w.Host})
	}
	g, err := m.listen.Join(ctx, o)
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	m.group, m.epoch, m.view = g, v.Epoch, v
	m.mu.Unlock()
	m.moved(m.client.Newest())
	return g, nil
}

// pollViews is how often a connecting worker looks whether its view is still the newest.
const pollViews = 10 * time.Millisecond

func (m *Member) cancelWhenMoved(ctx context.Context, epoch uint64, cancel func()) {
	tick := time.NewTicker(pollViews)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if m.client.Newest() > epoch {
				cancel()
				return
			}
		}
	}
}
