package launch

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"time"

	"ringo/collective/control"
	"ringo/collective/view"
)

// worker is one place of this host and the process that fills it. Only the loop touches it.
type worker struct {
	l        *launcher
	place    int
	id       string
	starts   int // processes that this place has had
	link     *control.Link
	cmd      *exec.Cmd // running process, nil none
	since    time.Time
	ready    *control.Ready
	progress control.Progress
	gpu      float64   // percent busy, -1 unknown
	left     string    // why it left, "" it did not
	said     bool      // it said that the run is finished
	held     time.Time // when it was ready but the others had to recover first; zero: it is not held back
	closed   bool      // nobody fills this place any more
}

// listed reports whether the worker may be in the next view.
func (w *worker) listed() bool {
	return w.link != nil && w.ready != nil && w.left == "" && w.held.IsZero()
}

func (w *worker) String() string { return fmt.Sprintf("worker %d", w.place) }

// launch starts a process for a place.
func (l *launcher) launch(w *worker) {
	if l.stopping || l.done || w.closed {
		w.closed = true
		return
	}
	w.starts++
	w.id = fmt.Sprintf("%s/%d", l.id, w.place)
	if w.starts > 1 {
		w.id += fmt.Sprintf(".%d", w.starts-1)
	}
	w.ready, w.progress, w.left, w.said, w.held, w.since, w.gpu = nil, control.Progress{}, "", false, time.Time{}, time.Now(), -1
	welcome := l.base
	welcome.ID, welcome.Local, welcome.Restart = w.id, w.place, w.starts-1
	link, theirs, err := control.NewLink(welcome)
	if err != nil {
		l.fail(err)
		return
	}
	defer theirs.Close()
	cmd := l.cfg.Command(welcome)
	if cmd.Env == nil {
		cmd.Env = os.Environ()
	}
	cmd.Env = append(cmd.Env, control.EnvFD+"=3")
	cmd.ExtraFiles = []*os.File{theirs}
	log := l.out.prefixed(fmt.Sprintf("[%d] ", w.place))
	cmd.Stdout, cmd.Stderr = log, log
	cmd.WaitDelay = time.Second // a grandchild may hold the pipe
	if err := l.spawn.start(cmd); err != nil {
		link.Close()
		w.closed = true
		l.fail(fmt.Errorf("launch: %v cannot be started: %w", w, err))
		return
	}
	w.link, w.cmd = link, cmd
	if l.view.Epoch > 0 {
		link.SetView(l.view)
	}
	if l.paused {
		link.Pause(true)
	}
	start := w.starts
	heard := make(chan struct{})
	l.reading.Go(func() {
		defer close(heard)
		l.read(w, start, link)
	})
	l.reaping.Go(func() {
		err := cmd.Wait()
		log.Close()
		select { // its last words come first: one that said that it leaves is not replaced
		case <-heard:
		case <-time.After(time.Second): // a grandchild holds the link, or sinks are slow
		}
		l.box.post(func() { l.exited(w, start, err) })
	})
}

// read hears a worker until its link ends. It runs beside the loop: a slow sink of events holds up this worker only.
func (l *launcher) read(w *worker, start int, link *control.Link) {
	for {
		r, err := link.Receive()
		if err != nil {
			l.box.post(func() { l.gone(w, start, err) })
			return
		}
		if e, ok := r.(*control.Event); ok {
			h, isNew := l.events.put(e.Line)
			if isNew || h.GPU != nil {
				l.box.post(func() {
					if h.GPU != nil {
						w.gpu = 100 * *h.GPU
					}
					if isNew {
						l.page.event(h, e.Line)
					}
				})
			}
			continue
		}
		l.box.post(func() {
			if w.starts == start {
				l.report(w, r)
			}
		})
	}
}

// report acts on what a worker says.
func (l *launcher) report(w *worker, r control.Report) {
	switch r := r.(type) {
	case *control.Ready:
		w.ready = r
		if l.recovering() {
			w.held = time.Now()
			return
		}
		l.members(fmt.Sprintf("%v joined", w))
	case *control.Broken:
		if r.Epoch == l.view.Epoch {
			l.broke(w.id)
		}
		l.log.Debug("a ring broke", "worker", w.id, "epoch", r.Epoch, "peer", r.Peer, "err", r.Err)
		l.step(view.Broken{Epoch: r.Epoch, Worker: w.id, Peer: r.Peer, Reason: r.Err})
	case *control.Progress:
		w.progress = *r
		l.journal.step(w.id, r)
		l.result.Step = max(l.result.Step, r.Step)
		l.recovered(r)
	case *control.Leave:
		w.left = r.Reason
		if w.left == "" {
			w.left = "no reason given"
		}
		l.log.Info(fmt.Sprintf("%v leaves: %s", w, w.left))
		l.broke(w.id)
		l.members(fmt.Sprintf("%v left: %s", w, w.left))
	case *control.Done:
		w.said = true
		if l.result.Data == nil {
			l.result.Data = r.Result
		}
		l.result.All = append(l.result.All, r.Result)
		if !l.done && !l.stopping { // one that was asked to stop may report how far it came
			l.finished()
			for _, h := range l.node.Hosts() {
				l.node.Send(h.ID, h.Addr, kindDone, nil, false) // who does not hear it has workers that know
			}
		}
	}
}

// gone hears that a worker's link ended: it died, or is about to. Its place in the view is empty from now on.
func (l *launcher) gone(w *worker, start int, err error) {
	if w.starts != start || w.link == nil {
		return
	}
	w.link.Close()
	w.link = nil
	l.journal.end(w.id)
	if cmd := w.cmd; cmd != nil { // it may hang without a link
		time.AfterFunc(2*time.Second, func() { l.box.post(func() { l.kill(w, start) }) })
	}
	if !errors.Is(err, io.EOF) {
		l.log.Debug("a worker's link ended", "worker", w.id, "err", err)
	}
	if w.ready == nil || w.left != "" {
		return // it was in no view, or is out already
	}
	reason := fmt.Sprintf("%v died", w)
	if w.said {
		reason = fmt.Sprintf("%v has finished", w)
	}
	l.broke(w.id)
	l.members(reason)
}

func (l *launcher) kill(w *worker, start int) {
	if w.starts == start && w.cmd != nil {
		w.cmd.Process.Kill()
	}
}

func (l *launcher) killAll() {
	for _, w := range l.workers {
		l.kill(w, w.starts)
	}
}

// exitUsage is the exit status of a worker that cannot work with the settings it was given.
const exitUsage = 2

// exited decides what becomes of a place whose process has ended and was reaped.
func (l *launcher) exited(w *worker, start int, err error) {
	if w.starts != start {
		return
	}
	l.gone(w, start, io.EOF)
	w.cmd = nil
	var exit *exec.ExitError
	switch {
	case w.left != "" || w.said || l.stopping || l.done:
		w.closed = true
		return
	case errors.As(err, &exit) && exit.ExitCode() == exitUsage && w.ready == nil:
		w.closed = true
		l.fail(fmt.Errorf("%w: %v says why above", ErrSettings, w))
		return
	}
	how := "exit status 0, without a word"
	if err != nil {
		how = err.Error()
	}
	if l.result.Restarts >= l.cfg.Restarts {
		w.closed = true
		l.log.Warn(fmt.Sprintf("%v died (%s) and is not replaced: all %s are used up; --restarts allows more", w, how, count(l.cfg.Restarts, "restart")))
		l.exhausted = fmt.Errorf("launch: the last worker here died (%s) after %s; --restarts allows more", how, count(l.result.Restarts, "restart"))
		return
	}
	l.result.Restarts++
	wait := l.pause(w)
	l.log.Warn(fmt.Sprintf("%v died (%s); it is started again %s (restart %d of %d)", w, how, when(wait), l.result.Restarts, l.cfg.Restarts))
	time.AfterFunc(wait, func() {
		l.box.post(func() {
			if w.starts == start {
				l.launch(w)
			}
		})
	})
}

// maxBackoff bounds the wait before a restart.
const maxBackoff = 10 * time.Second

// pause returns the wait before the next restart. Survivors go first: a process that starts takes the CPU that they need
// to recover. A worker that took a step, or lived for a while, begins a new row; within a row of those that did not the
// wait doubles.
func (l *launcher) pause(w *worker) time.Duration {
	if w.progress.Epoch > 0 || time.Since(w.since) >= l.cfg.Healthy {
		l.fails = 0
	}
	l.fails++
	if l.fails == 1 && !slices.ContainsFunc(l.workers, (*worker).listed) {
		return 0
	}
	return min(l.cfg.Backoff<<min(l.fails-1, 16), maxBackoff)
}

func when(d time.Duration) string {
	if d == 0 {
		return "at once"
	}
	return fmt.Sprintf("in %v", d)
}
