package train

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"ringo/collective/control"
	"ringo/collective/ring"
	"ringo/collective/view"
	"ringo/train/config"
	"ringo/train/metrics"
)

// office hands views to the workers of one process, as launchers do: whoever is killed or joins makes a new one.
type office struct {
	mu      sync.Mutex
	epoch   uint64
	links   map[string]*desk
	order   []string
	done    map[int][]Progress // by step
	rejoins int
	groups  []Group
	resume  map[string]string // by worker: the checkpoint that it goes on from
}

// desk is one worker's Link.
type desk struct {
	o       *office
	id      string
	host    string
	addr    string
	ready   bool
	view    view.View
	changed chan struct{}
	onView  func(uint64)
	stop    bool
	kill    context.CancelFunc
}

func newOffice() *office { return &office{links: map[string]*desk{}, done: map[int][]Progress{}} }

// publish makes the next view of all that are ready. mu is held.
func (o *office) publish(reason string) []func() {
	o.epoch++
	v := view.View{Epoch: o.epoch, Founder: "h", Hosts: []view.Host{{ID: "h"}}, Reason: reason}
	for _, id := range o.order {
		if d := o.links[id]; d != nil && d.ready {
			v.Workers = append(v.Workers, view.Worker{ID: id, Host: d.host, Addr: d.addr})
		}
	}
	var tell []func()
	for _, d := range o.links {
		d.view = v
		close(d.changed)
		d.changed = make(chan struct{})
		if fn := d.onView; fn != nil {
			tell = append(tell, func() { fn(v.Epoch) })
		}
	}
	return tell
}

func (o *office) do(fn func() []func()) {
	o.mu.Lock()
	tell := fn()
	o.mu.Unlock()
	for _, f := range tell {
		f()
	}
}

// remove takes a worker out as a launcher does that sees its death.
func (o *office) remove(id string) {
	o.do(func() []func() {
		if o.links[id] == nil {
			return nil
		}
		delete(o.links, id)
		return o.publish("worker " + id + " died")
	})
}

func (d *desk) ID() string { return d.id }

func (d *desk) Newest() uint64 {
	d.o.mu.Lock()
	defer d.o.mu.Unlock()
	return d.view.Epoch
}

func (d *desk) OnView(fn func(uint64))             { d.o.mu.Lock(); d.onView = fn; d.o.mu.Unlock() }
func (d *desk) Gate(context.Context, uint64) error { return nil }
func (d *desk) Stopping() bool                     { d.o.mu.Lock(); defer d.o.mu.Unlock(); return d.stop }
func (d *desk) StoppingAll() bool                  { return false }
func (d *desk) StopBy() time.Time                  { return time.Time{} }

func (d *desk) View(ctx context.Context, after uint64) (view.View, error) {
	for {
		d.o.mu.Lock()
		v, changed := d.view, d.changed
		d.o.mu.Unlock()
		if v.Epoch > after && v.Rank(d.id) >= 0 {
			return v, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return v, ctx.Err()
		}
	}
}

// Broken: the same members retry in a new view, unless a death made one already.
func (d *desk) Broken(epoch uint64, peer string, err error) error {
	d.o.do(func() []func() {
		if d.o.epoch > epoch || d.o.links[d.id] == nil {
			return nil
		}
		d.o.rejoins++
		return d.o.publish("broken by " + peer)
	})
	return nil
}

func (d *desk) Progress(p control.Progress) error {
	d.o.mu.Lock()
	defer d.o.mu.Unlock()
	d.o.done[p.Step] = append(d.o.done[p.Step], Progress{Epoch: p.Epoch, Step: p.Step, LaneLo: p.LaneLo, LaneHi: p.LaneHi})
	return nil
}

// seen is a Team that keeps the groups it joined.
type seen struct {
	*Member
	o *office
}

func (s seen) Join(ctx context.Context, after uint64) (view.View, Group, error) {
	v, g, err := s.Member.Join(ctx, after)
	if err == nil {
		s.o.mu.Lock()
		s.o.groups = append(s.o.groups, g)
		s.o.mu.Unlock()
	}
	return v, g, err
}

// outcome is how one worker ended.
type outcome struct {
	id     string
	result Result
	err    error
	final  *Trainer
}

// hire starts a worker of a job; started is called with its trainer.
func (o *office) hire(t *testing.T, id string, cfg *config.Config, out string, sink metrics.Sink, ends chan<- outcome) {
	t.Helper()
	l, err := ring.Listen("127.0.0.1:0", ring.ListenOptions{})
	require.NoError(t, err)
	ctx, kill := context.WithCancel(context.Background())
	d := &desk{o: o, id: id, host: "h", addr: l.Addr(), changed: make(chan struct{}), kill: kill}
	if cfg.Train.Wire != "exact" {
		d.host = "host of " + id // within a host nothing is coded
	}
	m, err := NewMember(d, l, "job", cfg.Train.Wire)
	require.NoError(t, err)
	opt := Options{Device: "cpu", Out: out, Team: seen{m, o}, Log: metrics.NewLog()}
	if sink != nil {
		opt.Log.Add(sink)
	}
	tr, err := New(cfg, opt)
	require.NoError(t, err)
	if from := o.resume[id]; from != "" {
		_, err := tr.Resume(from)
		require.NoError(t, err)
	}
	t.Cleanup(func() { kill(); _ = tr.Close(); _ = l.Close() })
	o.mu.Lock()
	o.links[id] = d
	o.order = append(o.order, id)
	d.view.Epoch = 0
	o.mu.Unlock()
	go func() {
		r, err := tr.Run(ctx)
		_ = l.Close()
		ends <- outcome{id, r, err, tr}
	}()
}

// open makes the first view of workers, or one with joiners.
func (o *office) open(ids ...string) {
	o.do(func() []func() {
		for _, id := range ids {
			o.links[id].ready = true
		}
		return o.publish(strings.Join(ids, ", ") + " joined")
	})
}

// at calls do when a worker emits the step event of a step.
type at struct {
	step int
	do   func()
}

func (a at) Event(e metrics.Event, _ []byte) error {
	if s, ok := e.(*metrics.Step); ok && s.Step == a.step {
		a.do()
	}
	return nil
}

func (at) Close() error { return nil }
