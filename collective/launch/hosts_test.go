package launch

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"ringo/collective/control"
)

// says waits until a host's log has a text.
func (h *host) says(text string) {
	h.t.Helper()
	require.Eventually(h.t, func() bool { return strings.Contains(h.log.String(), text) }, 20*time.Second, time.Millisecond, text)
}

// vanish ends a host as death does: workers are killed, nobody is told.
func (h *host) vanish() {
	close(h.kill)
	<-h.done
	require.ErrorIs(h.t, h.err, ErrKilled)
}

func TestHostsComeAndGo(t *testing.T) {
	t.Parallel()
	const steps = 900
	a := newHost(t, 2, steps, nil).start()
	b := newHost(t, 1, steps, func(c *Config) { c.Join = []string{a.ready.Addr} }).start()
	c := newHost(t, 1, steps, func(c *Config) { c.Join = []string{b.ready.Addr} }).start()
	a.says("4 workers on 3 hosts")
	a.reach(a.step() + 20)
	b.vanish()
	a.says("3 workers on 2 hosts")
	a.reach(a.step() + 20)
	c.cancel() // leaves in order
	<-c.done
	require.NoError(t, c.err)
	require.True(t, c.result.Interrupted)
	a.says("2 workers on 1 host")
	d := newHost(t, 1, steps, func(c *Config) { c.Join = []string{a.ready.Addr} }).start()
	a.says("3 workers on 2 hosts")
	a.finishes(steps)
	<-d.done
	require.NoError(t, d.err)
	require.True(t, d.result.Done)
}

func TestWitnessKeepsTheSurvivorGoing(t *testing.T) {
	t.Parallel()
	const steps = 700
	a := newHost(t, 1, steps, nil).start()
	join := func(c *Config) { c.Join = []string{a.ready.Addr} }
	b := newHost(t, 1, steps, join).start()
	w := newHost(t, 0, 0, func(c *Config) { join(c); c.Witness = true }).start()
	b.says("2 workers on 3 hosts")
	b.reach(b.step() + 20)
	a.vanish() // the founder
	b.says("1 worker on 2 hosts")
	select {
	case <-b.done:
	case <-time.After(30 * time.Second):
		require.Fail(t, "no end")
	}
	require.NoError(t, b.err)
	require.Equal(t, fmt.Sprint(undisturbed(steps)), string(b.result.Data))
	<-w.done
	require.NoError(t, w.err)
	require.True(t, w.result.Done)
}

func TestWithoutWitnessTheSecondHostWaits(t *testing.T) {
	t.Parallel()
	a := newHost(t, 1, 100_000, nil).start()
	b := newHost(t, 1, 100_000, func(c *Config) { c.Join = []string{a.ready.Addr} }).start()
	b.says("2 workers on 2 hosts")
	b.reach(b.step() + 10)
	a.vanish()
	b.says("this host is waiting: 1 of 2 hosts answer")
	at := b.step()
	time.Sleep(300 * time.Millisecond)
	require.Equal(t, at, b.step(), "nobody steps without a majority")
	b.cancel()
	<-b.done
	require.NoError(t, b.err)
}

func TestTheFirstOfTheListFounds(t *testing.T) {
	t.Parallel()
	const steps = 300
	var list []string
	for range 3 { // ports that are free now
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		list = append(list, l.Addr().String())
		l.Close()
	}
	var hosts []*host
	for i := 2; i >= 0; i-- {
		hosts = append(hosts, newHost(t, 1, steps, func(c *Config) { c.Bind, c.Join, c.MinWorkers = list[i], list, 3 }).start())
	}
	hosts[2].says("the first of the list: it founds the job")
	hosts[2].finishes(steps)
	for _, h := range hosts[:2] {
		<-h.done
		require.NoError(t, h.err)
		require.NotContains(t, h.log.String(), "it founds the job")
	}
}

func TestStrangersDoNotDisturb(t *testing.T) {
	t.Parallel()
	const steps = 900
	a := newHost(t, 2, steps, nil).start()
	a.reach(10)
	key := newHost(t, 1, steps, func(c *Config) { c.Join, c.Key = []string{a.ready.Addr}, bytes.Repeat([]byte{1}, 32) }).start()
	job := newHost(t, 1, steps, func(c *Config) { c.Join, c.Job = []string{a.ready.Addr}, "other" }).start()
	var ports []string
	for line := range strings.Lines(a.out.String()) {
		if _, addr, ok := strings.Cut(strings.TrimSpace(line), "listening at "); ok {
			ports = append(ports, addr)
		}
	}
	require.Len(t, ports, 2)
	for _, addr := range append(ports, a.ready.Addr) {
		for i := range 8 {
			conn, err := net.Dial("tcp", addr)
			require.NoError(t, err)
			defer conn.Close() // every second one stays half open
			if i%2 == 0 {
				conn.Write(bytes.Repeat([]byte{0xff, byte(i)}, 4000))
			}
		}
	}
	for _, h := range []*host{key, job} {
		<-h.done
	}
	require.ErrorContains(t, key.err, "its job has another key; start both with the same --key-file")
	require.ErrorContains(t, job.err, `belongs to job "toy", this host to "other"`)
	a.finishes(steps)
	require.NotContains(t, a.log.String(), "after the break", "training was not disturbed")
}

func TestAskedToStop(t *testing.T) {
	t.Parallel()
	h := newHost(t, 3, 1_000_000, func(c *Config) { c.Command = tagged(c.Command) }).start()
	h.reach(20)
	h.cancel()
	<-h.done
	require.NoError(t, h.err)
	require.True(t, h.result.Interrupted)
	require.GreaterOrEqual(t, h.result.Step, 20)
	require.Empty(t, h.children())
	require.NotContains(t, h.log.String(), "is killed")
}

func TestPreemptionOfOneWorker(t *testing.T) {
	t.Parallel()
	const steps = 500
	h := newHost(t, 3, steps, func(c *Config) { c.Command = tagged(c.Command) }).start()
	h.says("3 workers on 1 host")
	h.reach(h.step() + 5)
	require.NoError(t, syscall.Kill(h.children()[1], syscall.SIGTERM))
	h.says("worker 1 leaves: asked to")
	h.finishes(steps)
	require.Zero(t, h.result.Restarts, "one that leaves is not replaced")
}

func TestRestartsAreBounded(t *testing.T) {
	t.Parallel()
	h := newHost(t, 1, 10, func(c *Config) {
		c.Restarts = 2
		c.Command = func(control.Welcome) *exec.Cmd { return exec.Command("false") }
	}).start()
	<-h.done
	require.ErrorContains(t, h.err, "the last worker here died (exit status 1) after 2 restarts; --restarts allows more")

	h = newHost(t, 2, 0, nil).start() // zero steps: the worker ends with status 2
	<-h.done
	require.ErrorIs(t, h.err, ErrSettings)
	require.Contains(t, h.out.String(), "worker: settings that make no sense")

	h = newHost(t, 1, 10, func(c *Config) {
		c.Command = func(control.Welcome) *exec.Cmd { return exec.Command("/no/such/program") }
	}).start()
	<-h.done
	require.ErrorContains(t, h.err, "worker 0 cannot be started")
}

func TestAWorkerThatHangsIsKilled(t *testing.T) {
	t.Parallel()
	h := newHost(t, 1, 10, func(c *Config) {
		c.Grace = 300 * time.Millisecond
		c.Command = func(control.Welcome) *exec.Cmd { return exec.Command("sleep", "1000") }
	}).start()
	h.says("host is up")
	h.cancel()
	<-h.done
	require.NoError(t, h.err)
	require.Contains(t, h.log.String(), "worker 0 did not leave within 300ms and is killed")
}

// TestWorkersEndWithTheirLauncher: kill -9 of a launcher leaves no worker.
func TestWorkersEndWithTheirLauncher(t *testing.T) {
	t.Parallel()
	mark := fmt.Sprintf("RINGO_TEST_MARK=%d", os.Getpid())
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), envLauncher+`={"Workers":2,"Steps":1000000,"Pause":1000000}`, mark)
	var out safe
	cmd.Stdout = &out
	require.NoError(t, cmd.Start())
	require.Eventually(t, func() bool { return strings.Count(out.String(), "listening") == 2 }, 20*time.Second, time.Millisecond)
	marked := func() (n int) {
		all, _ := filepath.Glob("/proc/[0-9]*/environ")
		for _, p := range all {
			if env, err := os.ReadFile(p); err == nil && bytes.Contains(env, []byte(mark+"\x00")) {
				n++
			}
		}
		return n
	}
	require.Equal(t, 3, marked())
	require.NoError(t, cmd.Process.Kill())
	cmd.Wait()
	require.Eventually(t, func() bool { return marked() == 0 }, 5*time.Second, time.Millisecond)
}

func TestLeastAndMostWorkers(t *testing.T) {
	t.Parallel()
	const steps = 400
	two := func(c *Config) { c.MinWorkers, c.MaxWorkers = 2, 2 }
	a := newHost(t, 1, steps, func(c *Config) { two(c); c.Bind = "0.0.0.0:0"; c.Advertise = "127.0.0.1" }).start()
	a.says("waiting for workers: the job takes at least 2")
	require.Zero(t, a.step())
	b := newHost(t, 2, steps, func(c *Config) { two(c); c.Join = []string{a.ready.Addr} }).start()
	a.says("2 workers on 2 hosts")
	a.finishes(steps)
	<-b.done
	require.NoError(t, b.err)
	require.NotContains(t, a.log.String(), ": 3 workers")
}

func TestConfigErrors(t *testing.T) {
	t.Parallel()
	for want, change := range map[string]func(*Config){
		"-1 workers, expected 1 to 256":             func(c *Config) { c.Workers = -1 },
		"a witness has no workers":                  func(c *Config) { c.Witness = true },
		"at least 3 workers and at most 2":          func(c *Config) { c.MinWorkers, c.MaxWorkers = 3, 2 },
		"nobody else can join at 127.0.0.1":         func(c *Config) { c.MinWorkers = 3 },
		"none may be negative":                      func(c *Config) { c.Restarts = -1 },
		"choose another --bind":                     func(c *Config) { c.Bind = "192.0.2.1:7946" },
		"the job's key has 0 bytes, expected 32":    func(c *Config) { c.Key = nil },
		"the status page cannot be served":          func(c *Config) { c.Status = "192.0.2.1:80" },
		"a command, an output and a log are needed": func(c *Config) { c.Log = nil },
	} {
		c := newHost(t, 1, 1, change).cfg
		_, err := Run(context.Background(), c)
		require.ErrorContains(t, err, want)
	}
	_, err := Run(context.Background(), newHost(t, 0, 1, func(c *Config) { c.Witness = true }).cfg)
	require.ErrorContains(t, err, "a witness joins a job")
}
