package launch

import (
	"errors"
	"fmt"
	"net"
	"time"

	"ringo/collective/control"
	"ringo/collective/view"
)

// stop asks all workers to finish their step and leave. Where no other host has the state, they may wait for half of Grace
// for one to take it. Those that are still there after Grace are killed.
func (l *launcher) stop(reason string) {
	if l.stopping {
		return
	}
	l.stopping = true
	l.result.Interrupted = !l.done && l.fatal == nil
	l.log.Info("stopping: " + reason)
	for _, w := range l.workers {
		if w.link != nil {
			w.link.Stop(control.Stop{All: true, Reason: reason, By: time.Now().Add(l.cfg.Grace / 2)})
		}
		if w.cmd == nil {
			w.closed = true
		}
	}
	time.AfterFunc(l.cfg.Grace, func() {
		l.box.post(func() {
			for _, w := range l.workers {
				if w.cmd != nil {
					l.log.Warn(fmt.Sprintf("%v did not leave within %v and is killed", w, l.cfg.Grace))
				}
			}
			l.killAll()
		})
	})
}

// finished notes that the run is done. Workers here that still have something to do get Grace for it.
func (l *launcher) finished() {
	l.done, l.result.Done, l.result.Interrupted = true, true, false
	for _, w := range l.workers {
		if w.cmd == nil {
			w.closed = true // a restart that is not needed any more
		}
	}
	l.dismiss()
	time.AfterFunc(l.cfg.Grace, func() { l.box.post(func() { l.stop("the run is finished") }) })
}

// dismiss stops workers that are in no view once the run is finished: spares, and those that came too late.
func (l *launcher) dismiss() {
	for _, w := range l.workers {
		if w.link != nil && l.view.Rank(w.id) < 0 {
			w.link.Stop(control.Stop{Reason: "the run is finished"})
		}
	}
}

// fail ends the launcher's part with an error.
func (l *launcher) fail(err error) {
	if l.fatal == nil && !l.done {
		l.fatal = err
	}
	l.stop(err.Error())
}

// settle looks whether anything is left to do.
func (l *launcher) settle() {
	if l.over || l.leaving {
		return
	}
	for _, w := range l.workers {
		if !w.closed || w.cmd != nil {
			return
		}
	}
	if l.cfg.Witness && !l.stopping && !l.done {
		return
	}
	if !l.stopping && !l.done {
		if l.exhausted != nil {
			l.fatal = l.exhausted
		} else {
			l.result.Interrupted = true // all were asked to leave, one by one
		}
	}
	l.finish()
}

// finish leaves the job; Left ends the loop.
func (l *launcher) finish() {
	if l.leaving {
		return
	}
	l.leaving = true
	if !l.started || l.killing || l.state == view.Waiting {
		l.over = true // there is nobody who could agree
		return
	}
	l.step(view.Leave{})
}

// close gives back everything: processes, sockets, goroutines.
func (l *launcher) close() error {
	close(l.closed)
	l.wake.Stop()
	l.killAll()
	l.reaping.Wait()
	for _, w := range l.workers {
		if w.link != nil {
			w.link.Close()
		}
	}
	var err error
	if l.killing {
		err = l.node.Close()
	} else if e := l.node.Leave(); e != nil {
		l.log.Debug("gossip was left without an answer", "err", e)
	}
	l.reading.Wait()
	l.events.close()
	l.spawn.close()
	return errors.Join(err, l.journal.close(), l.page.close())
}

// isLoopback reports whether an address is this machine's own; a name that is no IP address is none.
func isLoopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		host = addr
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
