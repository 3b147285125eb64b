package launch

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"ringo/collective/gossip"
	"ringo/collective/view"
)

// tellEvery is how often a host says that it is still looking for its job.
const tellEvery = 5 * time.Second

// found decides how the host begins. Without seeds it founds the job. With seeds it waits until gossip shows a host
// that has been in a view, and asks to be let in. Where none shows up for FoundAfter, the host that stands first among
// the seeds founds the job: on Kubernetes all hosts get one list, and only one of them may begin.
func (l *launcher) found() {
	if l.started || l.leaving {
		return
	}
	if len(l.cfg.Join) == 0 {
		l.begin(true)
		return
	}
	now := time.Now()
	if l.looking.IsZero() {
		l.looking, l.toldLook = now, now
		go l.seek()
	}
	hosts := l.node.Hosts()
	for _, h := range hosts {
		if h.Inside {
			l.begin(false)
			return
		}
	}
	waited := now.Sub(l.looking)
	if waited >= l.cfg.FoundAfter && !l.cfg.Witness && l.leads() {
		l.log.Info("no host of the job answers and this host is the first of the list: it founds the job")
		l.begin(true)
		return
	}
	if now.Sub(l.toldLook) >= tellEvery {
		l.toldLook = now
		what := "nobody answers yet"
		if len(hosts) > 0 {
			what = count(len(hosts), "host") + " answered, the first of the list did not begin yet"
		}
		l.log.Info(fmt.Sprintf("looking for job %q at %s for %.0f s: %s", l.cfg.Job, strings.Join(l.cfg.Join, ", "), waited.Seconds(), what))
	}
}

// leads reports whether the first seed is this host: by the name that it advertises, or by address.
func (l *launcher) leads() bool {
	seed := l.cfg.Join[0]
	if l.cfg.Advertise != "" && bare(seed) == bare(l.cfg.Advertise) {
		return true
	}
	return l.node.Is(seed)
}

// bare writes an address with gossip's port where it names none.
func bare(addr string) string {
	if _, _, err := net.SplitHostPort(addr); err != nil {
		return fmt.Sprintf("%s:%d", addr, gossip.DefaultPort)
	}
	return addr
}

func (l *launcher) begin(alone bool) {
	l.started = true
	l.step(view.Start{Found: alone})
	for _, h := range l.node.Hosts() {
		l.step(view.Seen{Host: view.Host{ID: h.ID, Addr: h.Addr, Witness: h.Witness}})
	}
	l.members("start")
}

// seekEvery is how often seeds are tried.
const seekEvery = 500 * time.Millisecond

// seek tries the seeds until one answers. A host that refuses this one ends the launcher: neither a key nor a job's
// name changes by waiting. It runs beside the loop.
func (l *launcher) seek() {
	for {
		_, err := l.node.Join(l.cfg.Join)
		if err == nil {
			return // gossip tries again by itself should they be lost
		}
		if !errors.Is(err, gossip.ErrNobody) {
			l.box.post(func() { l.fail(err) })
			return
		}
		l.log.Debug("seeds were tried", "err", err)
		select {
		case <-l.closed:
			return
		case <-time.After(seekEvery):
		}
	}
}
