package launch

import (
	"log/slog"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"ringo/collective/control"
	"ringo/collective/view"
)

// TestWhatARecoveryIs: it begins with the end of somebody in the view, goes on through views without a step, and ends with the
// first step. The end of a worker that is in no view yet begins none.
func TestWhatARecoveryIs(t *testing.T) {
	t.Parallel()
	l := &launcher{id: "a", log: slog.New(slog.DiscardHandler)}
	next := func(at time.Time, workers ...string) {
		l.view.Epoch++
		l.view.Hosts, l.view.Workers = []view.Host{{ID: "a"}}, nil
		for _, id := range workers {
			l.view.Workers = append(l.view.Workers, view.Worker{ID: id, Host: "a"})
		}
		l.remember(at)
	}
	step := func() change {
		l.recovered(&control.Progress{Epoch: l.view.Epoch, Step: 1})
		return l.history[len(l.history)-1]
	}
	begin := time.Now()
	next(begin, "a/0", "a/1")
	require.False(t, l.recovering(), "a join is no break")
	require.False(t, step().broke)

	l.broke("a/2")
	require.Zero(t, l.breakAt, "a/2 is not in the view")
	next(begin, "a/0", "a/1", "a/3")
	require.False(t, step().broke)

	l.broke("a/3")
	from := l.breakAt
	require.NotZero(t, from)
	next(from.Add(time.Millisecond), "a/0", "a/1")
	require.True(t, l.recovering())
	l.broke("a/1") // before any step
	next(from.Add(time.Second), "a/0")
	c := step()
	require.True(t, c.broke)
	require.Equal(t, from, c.from, "the first break counts")
	require.False(t, l.recovering())
}

// TestReplacementsWait: where a step takes longer than the start of a worker, the survivors make theirs first.
func TestReplacementsWait(t *testing.T) {
	t.Parallel()
	const steps = 10
	h := newHost(t, 2, steps, func(c *Config) { c.Command = tagged(toyCommand(steps, 250*time.Millisecond)) }).start()
	h.says("2 workers on 1 host")
	h.reach(2)
	require.NoError(t, syscall.Kill(h.children()[1], syscall.SIGKILL))
	h.finishes(steps)
	m := regexp.MustCompile(`view (\d+): 1 worker on 1 host: worker 1 died`).FindStringSubmatch(h.log.String())
	require.NotNil(t, m)
	require.Contains(t, h.log.String(), "view "+m[1]+": step", "the survivor stepped before the next view")
	require.Equal(t, 2, strings.Count(h.log.String(), ": 2 workers on 1 host"), "then the replacement joined")
}
