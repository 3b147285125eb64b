package launch

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"ringo/collective/control"
)

// safe is a log that may be read while it is written.
type safe struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (s *safe) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.Write(b)
}

func (s *safe) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.String()
}

// host is a launcher under test.
type host struct {
	t      *testing.T
	cfg    Config
	out    safe // what workers print
	log    safe
	up     chan Ready
	ready  Ready
	result Result
	err    error
	done   chan struct{}
	kill   chan struct{}
	cancel context.CancelFunc

	mu    sync.Mutex
	steps []int // of step events
}

var testKey = bytes.Repeat([]byte{9}, 32)

// newHost prepares a launcher of n workers that take steps of the toy run.
func newHost(t *testing.T, n, steps int, change func(*Config)) *host {
	t.Helper()
	h := &host{t: t, cfg: DefaultConfig(), up: make(chan Ready, 1), done: make(chan struct{}), kill: make(chan struct{})}
	c := &h.cfg
	c.Job, c.Key, c.Workers, c.Output = "toy", testKey, n, &h.out
	c.Log = slog.New(slog.NewTextHandler(&h.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	c.Healthy, c.Backoff, c.Grace, c.FoundAfter = 0, 20*time.Millisecond, 5*time.Second, time.Second
	quick(c)
	c.ready = func(r Ready) { h.up <- r }
	c.Event, c.Stop = h.event, h.kill
	if n > 0 {
		c.Command = toyCommand(steps, 2*time.Millisecond)
	}
	if change != nil {
		change(c)
	}
	return h
}

func (h *host) event(line []byte, _ bool) {
	var e header
	if json.Unmarshal(line, &e) == nil && e.Event == "step" {
		h.mu.Lock()
		h.steps = append(h.steps, e.Step)
		h.mu.Unlock()
	}
}

// start runs the launcher until the test ends.
func (h *host) start() *host {
	h.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	h.cancel = cancel
	go func() {
		defer close(h.done)
		h.result, h.err = Run(ctx, h.cfg)
	}()
	h.t.Cleanup(func() {
		cancel()
		<-h.done
		if h.t.Failed() || os.Getenv("RINGO_TEST_LOG") != "" {
			h.t.Logf("log of a host:\n%s\nits workers:\n%s", last(h.log.String(), 12000), last(h.out.String(), 2000))
		}
	})
	select {
	case h.ready = <-h.up:
	case <-h.done:
	}
	return h
}

func last(s string, n int) string { return s[max(0, len(s)-n):] }

// step is the newest step that was completed.
func (h *host) step() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.steps) == 0 {
		return 0
	}
	return h.steps[len(h.steps)-1]
}

func (h *host) reach(step int) {
	h.t.Helper()
	require.Eventually(h.t, func() bool { return h.step() >= step }, 30*time.Second, time.Millisecond, "step %d", step)
}

// children returns the process of every place of this host, as the system shows them.
func (h *host) children() map[int]int {
	h.t.Helper()
	pids := map[int]int{}
	all, err := os.ReadDir("/proc")
	require.NoError(h.t, err)
	for _, e := range all {
		env, err := os.ReadFile("/proc/" + e.Name() + "/environ")
		if err != nil || !bytes.Contains(env, []byte("RINGO_TEST_HOST="+h.ready.Host+"\x00")) {
			continue
		}
		var pid, place int
		fmt.Sscan(e.Name(), &pid)
		for _, kv := range bytes.Split(env, []byte{0}) {
			fmt.Sscanf(string(kv), "RINGO_TEST_PLACE=%d", &place)
		}
		pids[place] = pid
	}
	return pids
}

// tagged adds to a worker's environment what children looks for.
func tagged(command func(control.Welcome) *exec.Cmd) func(control.Welcome) *exec.Cmd {
	return func(w control.Welcome) *exec.Cmd {
		cmd := command(w)
		cmd.Env = append(cmd.Env, "RINGO_TEST_HOST="+w.Job.Host, fmt.Sprintf("RINGO_TEST_PLACE=%d", w.Local))
		return cmd
	}
}

// finishes waits for the end and checks that every step was taken once and the state is that of an undisturbed run.
func (h *host) finishes(steps int) {
	h.t.Helper()
	select {
	case <-h.done:
	case <-time.After(60 * time.Second):
		require.Fail(h.t, "the job did not end")
	}
	require.NoError(h.t, h.err)
	require.True(h.t, h.result.Done)
	require.False(h.t, h.result.Interrupted)
	require.Equal(h.t, fmt.Sprint(undisturbed(steps)), string(h.result.Data))
	require.Len(h.t, h.steps, steps)
	for i, s := range h.steps {
		require.Equal(h.t, i+1, s, "every step once, in order")
	}
	require.Empty(h.t, h.children(), "nothing is left behind")
}

func TestAnyNumberOfWorkers(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 3} {
		h := newHost(t, n, 50, func(c *Config) { c.Command = tagged(c.Command) }).start()
		h.finishes(50)
		require.Contains(t, h.out.String(), fmt.Sprintf("[%d] listening at 127.0.0.1:", n-1))
	}
}

func TestKills(t *testing.T) {
	t.Parallel()
	const steps = 600
	h := newHost(t, 4, steps, func(c *Config) { c.Command = tagged(c.Command); c.Restarts = 100 }).start()
	h.reach(40)
	kill := func(place int) {
		pid := h.children()[place]
		require.NotZero(t, pid)
		require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
		h.reach(h.step() + 20)
	}
	kill(2)
	kill(0) // the first of the ring
	for place := 1; place < 4; place++ {
		kill(place)
	}
	h.finishes(steps)
	require.Equal(t, 5, h.result.Restarts)
	require.Contains(t, h.log.String(), "worker 2 died (signal: killed); it is started again in 20ms")
	t.Logf("recovery in ms: %v", h.recoveries())
}

// recoveries lists, in ms and rising, how long it took from each break to the next step.
func (h *host) recoveries() (ms []int) {
	for line := range strings.Lines(h.log.String()) {
		var view, step, took int
		if i := strings.Index(line, "msg=\"view "); i >= 0 {
			if n, _ := fmt.Sscanf(line[i:], "msg=\"view %d: step %d was completed %d ms after the break\"", &view, &step, &took); n == 3 {
				ms = append(ms, took)
			}
		}
	}
	slices.Sort(ms)
	return ms
}
