package launch

import (
	"fmt"
	"slices"
	"time"

	"ringo/collective/control"
	"ringo/collective/view"
)

// change is a view with what followed.
type change struct {
	view.View
	at       time.Time
	from     time.Time // when its cause was noticed, or of an earlier view that made no step; else at
	broke    bool      // the cause ended a step: no join
	recovery time.Duration
	stepped  bool // a step was completed in it
}

// maxHistory bounds how many views are remembered.
const maxHistory = 64

// remember adds the newest view to the history. A view that replaces one in which no step was made yet goes on counting
// from the break that led to that one.
func (l *launcher) remember(now time.Time) {
	c := change{View: l.view, at: now, from: l.breakAt, broke: true}
	if n := len(l.history); n > 0 {
		if last := &l.history[n-1]; !last.stepped && last.broke && slices.ContainsFunc(last.Workers, l.isOwn) {
			c.from = last.from
		}
	}
	if c.from.IsZero() {
		c.from, c.broke = now, false
	}
	l.breakAt = time.Time{}
	l.history = append(l.history, c)
	if n := len(l.history) - maxHistory; n > 0 {
		l.history = slices.Delete(l.history, 0, n)
	}
}

// broke notes when what leads to the next view was noticed: the end of a worker or a host. One that is not in the view, as
// it had joined none yet or the others have gone on without it, leads to none.
func (l *launcher) broke(id string) {
	if _, host := l.view.Host(id); l.breakAt.IsZero() && (host || l.view.Rank(id) >= 0) {
		l.breakAt = time.Now()
	}
}

// recovering reports whether workers here have to make the first step after a break. One that comes now has to wait: another
// view would cut that step off once more.
func (l *launcher) recovering() bool {
	if len(l.history) == 0 {
		return false
	}
	last := &l.history[len(l.history)-1]
	return last.broke && !last.stepped && slices.ContainsFunc(last.Workers, l.isOwn)
}

// heldFor is how long a worker waits at most for the others to recover.
const heldFor = 5 * time.Second

// admit lets workers in that were held back, once the others have recovered or nobody is left to.
func (l *launcher) admit() {
	wait, any := l.recovering(), false
	for _, w := range l.workers {
		if !w.held.IsZero() && (!wait || time.Since(w.held) >= heldFor) {
			w.held, any = time.Time{}, true
		}
	}
	if any {
		l.members("others have recovered")
	}
}

func (l *launcher) isOwn(w view.Worker) bool { return w.Host == l.id }

// recovered notes the first step that is completed in a view, and what took how long, in ms: from the break to the view, to the
// ring, to one state on all workers, to the step.
func (l *launcher) recovered(p *control.Progress) {
	if len(l.history) == 0 {
		return
	}
	c := &l.history[len(l.history)-1]
	if c.stepped || p.Epoch != c.Epoch {
		return
	}
	now := time.Now()
	c.stepped, c.recovery = true, now.Sub(c.from)
	what := "after it was agreed on"
	if c.broke {
		what = "after the break"
	}
	ago := func(ms float64) time.Time { return now.Add(-time.Duration(min(max(ms, 0), 1e9) * 1e6)) }
	ring, agreed := ago(p.RingMS), ago(p.AgreedMS)
	l.log.Info(fmt.Sprintf("view %d: step %d was completed %d ms %s", c.Epoch, p.Step, c.recovery.Milliseconds(), what),
		"agreement", c.at.Sub(c.from).Milliseconds(), "ring", ring.Sub(c.at).Milliseconds(), "state", agreed.Sub(ring).Milliseconds(), "step", now.Sub(agreed).Milliseconds())
}
