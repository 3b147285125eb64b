package launch

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"ringo/collective/control"
	"ringo/collective/gossip"
	"ringo/collective/view"
)

// Kinds of messages between hosts.
const (
	kindView   = 'v' // the view machine's
	kindDone   = 'd' // the run is finished
	kindStatus = 's' // how workers fare, for status pages
)

// launcher is the state of Run. Only the loop touches it, unless said otherwise.
type launcher struct {
	cfg     Config
	id      string
	log     *slog.Logger
	box     *mailbox
	out     *output
	spawn   *spawner
	events  *events
	journal *journal
	node    *gossip.Node
	machine *view.Machine
	page    *page
	began   time.Time
	wake    *time.Timer
	base    control.Welcome // what all workers are told

	started  bool // the machine was
	looking  time.Time
	toldLook time.Time
	toldWait time.Time
	view     view.View
	state    view.State
	paused   bool
	workers  []*worker
	breakAt  time.Time // when what led to the next view was noticed; zero: nothing
	history  []change
	fails    int // workers that died in a row without a healthy one

	stopping  bool
	killing   bool
	done      bool // the run is finished, here or elsewhere
	leaving   bool
	over      bool // the loop ends
	fatal     error
	exhausted error // why the last worker that died was not replaced
	result    Result

	first            atomic.Bool // the ring's first worker runs here
	reading, reaping sync.WaitGroup
	closed           chan struct{}
}

func newLauncher(cfg Config) (*launcher, error) {
	l := &launcher{cfg: cfg, id: newID(), log: cfg.Log, box: newMailbox(), journal: newJournal(cfg.Journal), out: &output{w: cfg.Output}, began: time.Now(), closed: make(chan struct{}), wake: time.NewTimer(time.Hour)}
	g := cfg.Gossip
	g.Job, g.Key, g.Bind, g.Advertise, g.Log = cfg.Job, cfg.Key, cfg.Bind, cfg.Advertise, cfg.Log
	g.Self = gossip.Host{ID: l.id, Workers: cfg.Workers, Witness: cfg.Witness, Status: cfg.Status != ""}
	g.Handler = gossip.Handler{
		Seen:    func(h gossip.Host) { l.box.offer(func() { l.seen(h) }) },
		Lost:    func(id string, left bool) { l.box.offer(func() { l.lost(id, left) }) },
		Message: func(from string, kind byte, data []byte) { l.box.offer(func() { l.message(from, kind, data) }) },
	}
	var err error
	if l.node, err = gossip.Start(g); err != nil {
		return nil, fmt.Errorf("%w; choose another --bind, or port 0 for a free one", err)
	}
	v := cfg.View
	v.Self = view.Host{ID: l.id, Addr: l.node.Addr(), Witness: cfg.Witness}
	v.MinWorkers, v.MaxWorkers = cfg.MinWorkers, cfg.MaxWorkers
	v.Seed = uint64(l.began.UnixNano())
	if l.machine, err = view.New(v); err != nil {
		l.node.Close()
		return nil, err
	}
	if l.page, err = l.openPage(); err != nil {
		l.node.Close()
		return nil, err
	}
	l.spawn, l.events = newSpawner(), newEvents(func(line []byte) {
		if cfg.Event != nil {
			cfg.Event(line, l.first.Load())
		}
	})
	host, _, _ := net.SplitHostPort(l.node.Addr())
	bind, _, _ := net.SplitHostPort(cfg.Bind)
	l.base = control.Welcome{Locals: cfg.Workers, Job: control.Job{
		Name: cfg.Job, Host: l.id, Key: cfg.Key, Listen: net.JoinHostPort(bind, "0"), Advertise: host,
		TLS: cfg.TLS, CertFile: cfg.CertFile, KeyFile: cfg.KeyFile, CAFile: cfg.CAFile,
		MinWorkers: cfg.MinWorkers, MaxWorkers: cfg.MaxWorkers,
	}}
	return l, nil
}

// run is the loop.
func (l *launcher) run(ctx context.Context) error {
	l.log.Info("host is up", "job", l.cfg.Job, "host", l.id, "addr", l.node.Addr())
	if l.cfg.ready != nil {
		l.cfg.ready(Ready{l.id, l.node.Addr(), l.page.addr()})
	}
	for i := range l.cfg.Workers {
		l.workers = append(l.workers, &worker{l: l, place: i})
		l.launch(l.workers[i])
	}
	l.found()
	second := time.NewTicker(time.Second)
	defer second.Stop()
	asked, kill := ctx.Done(), l.cfg.Stop
	for !l.over {
		select {
		case <-l.box.ready:
			for _, f := range l.box.take() {
				f()
			}
		case <-l.wake.C:
			l.step(view.Tick{})
		case <-second.C:
			l.tick()
		case <-asked:
			asked = nil
			l.stop("asked to stop")
		case <-kill:
			kill = nil
			l.fatal, l.killing = ErrKilled, true
			l.killAll()
			l.finish()
		}
		l.admit()
		l.settle()
	}
	return l.fatal
}

// step drives the view machine and does what it says.
func (l *launcher) step(in view.Input) {
	for _, o := range slices.Clone(l.machine.Step(time.Since(l.began), in)) {
		switch o := o.(type) {
		case view.Send:
			if err := l.node.Send(o.To.ID, o.To.Addr, kindView, o.Data, o.Lossy); err != nil {
				l.log.Debug("a message was not sent", "to", o.To.ID, "err", err)
			}
		case view.Decided:
			l.decided(o.View)
		case view.Standing:
			l.standing(o)
		case view.Left:
			l.log.Debug("left the job", "reason", o.Reason)
			l.over = true
		case view.Refused:
			l.log.Warn("a message was refused", "from", o.From, "err", o.Err)
		case view.Wake:
			l.wake.Reset(max(0, o.At-time.Since(l.began)))
		}
	}
}

// lastStep is how long workers that still end their last step keep their ring once others have finished and gone.
const lastStep = 200 * time.Millisecond

// decided takes a view over.
func (l *launcher) decided(v view.View) {
	begins := l.view.Epoch == 0
	l.view = v.Clone()
	if l.done {
		time.AfterFunc(lastStep, func() { l.box.post(l.handOut) })
	} else {
		l.handOut()
	}
	l.journal.view(l.view)
	l.first.Store(len(v.Workers) > 0 && v.Workers[0].Host == l.id)
	l.remember(time.Now())
	level := slog.LevelInfo
	if l.done || l.stopping { // workers go one by one
		level = slog.LevelDebug
	}
	l.log.Log(context.Background(), level, fmt.Sprintf("view %d: %s on %s: %s", v.Epoch, count(len(v.Workers), "worker"), count(len(v.Hosts), "host"), v.Reason))
	if begins {
		go l.node.Update(func(h *gossip.Host) { h.Inside = true })
	}
}

// handOut gives the newest view to the workers. One that lacks a worker tells it to stop and wait.
func (l *launcher) handOut() {
	for _, w := range l.workers {
		if w.link != nil {
			w.link.SetView(l.view)
		}
	}
	if l.done {
		l.dismiss()
	}
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// standing holds the workers while this host is cut off from most others: those may count it out any moment.
func (l *launcher) standing(s view.Standing) {
	was := l.state
	l.state = s.State
	if s.State == view.Waiting || was == view.Waiting {
		l.log.Warn(fmt.Sprintf("this host is %s: %s", s.State, s.Reason))
	}
	if pause := s.State == view.Waiting; pause != l.paused {
		l.paused = pause
		for _, w := range l.workers {
			if w.link != nil {
				w.link.Pause(pause)
			}
		}
	}
}

// members tells the machine which workers this host has.
func (l *launcher) members(reason string) {
	var list []view.Worker
	for _, w := range l.workers {
		if w.listed() {
			list = append(list, view.Worker{ID: w.id, Host: l.id, Addr: w.ready.Addr, Device: w.ready.Device, Speed: max(0, min(w.progress.LanesPerSecond, 1e12))})
		}
	}
	l.step(view.Workers{Workers: list, Reason: reason})
}

func (l *launcher) message(from string, kind byte, data []byte) {
	switch kind {
	case kindView:
		l.step(view.Message{From: from, Data: data})
	case kindDone:
		if !l.done {
			l.log.Info("the run is finished on host " + from)
			l.finished()
		}
	case kindStatus:
		l.page.heard(from, data)
	}
}

func (l *launcher) seen(h gossip.Host) {
	l.step(view.Seen{Host: view.Host{ID: h.ID, Addr: h.Addr, Witness: h.Witness}})
	l.found()
}

func (l *launcher) lost(id string, left bool) {
	l.log.Info("gossip lost host "+id, "left", left)
	l.broke(id)
	l.step(view.Lost{ID: id})
	l.page.forget(id)
}

// tick does what is due about once a second.
func (l *launcher) tick() {
	l.found()
	if l.started && !l.leaving {
		l.members("speed")
	}
	l.tellWaiting()
	l.journal.flush(time.Now())
	l.share()
}

// tellWaiting says now and then why no worker steps.
func (l *launcher) tellWaiting() {
	now := time.Now()
	if l.cfg.MinWorkers < 2 || l.state != view.Member || len(l.view.Workers) > 0 || l.stopping || l.done || now.Sub(l.toldWait) < tellEvery {
		return
	}
	l.toldWait = now
	l.log.Info(fmt.Sprintf("waiting for workers: the job takes at least %d to go on", l.cfg.MinWorkers))
}
