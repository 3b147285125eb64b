package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"ringo/internal/netns"
)

// lockedBuffer may be read while a process writes to it.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// far is a host in a network namespace: ringo launch or witness with a folder of its own.
type far struct {
	*job
	i    int
	dir  string
	out  lockedBuffer
	said lockedBuffer // standard error
}

// farHost starts host i; host 0 begins the job. Without a configuration it is a witness.
func farHost(t *testing.T, n *netns.Network, i int, cfg, dir string) *far {
	t.Helper()
	h := &far{i: i, dir: filepath.Join(dir, fmt.Sprintf("host%d", i))}
	args := []string{"launch", "-n", "1", "-c", cfg, "--out", h.dir, "--device", "cpu", "--json", "--threads", "1"}
	if cfg == "" {
		args = []string{"witness"}
	}
	args = append(args, "--job", "far", "--bind", netns.Addr(i)+":7946")
	if i > 0 {
		args = append(args, "--join", netns.Addr(0)+":7946")
	}
	h.job = command(t, append(n.In(i, os.Args[0]), args...))
	h.cmd.Env = append(h.cmd.Env, "RINGO_JOB_KEY="+strings.Repeat("5a", 32), "XDG_CONFIG_HOME="+dir)
	h.cmd.Stdout, h.cmd.Stderr = &h.out, &h.said
	require.NoError(t, h.cmd.Start())
	t.Cleanup(func() {
		h.cmd.Process.Kill()
		if h.cmd.ProcessState == nil {
			h.cmd.Wait()
		}
		if t.Failed() {
			said := h.said.String()
			t.Logf("host %d:\n%s", i, said[max(0, len(said)-4000):])
		}
	})
	return h
}

// says waits until a host has said something so many times.
func (h *far) says(text string, times int) {
	h.t.Helper()
	require.Eventually(h.t, func() bool { return strings.Count(h.said.String(), text) >= times }, time.Minute, 5*time.Millisecond, "host %d: %s", h.i, text)
}

func (h *far) done() int { return strings.Count(h.out.String(), `"event":"step"`) }

// advances waits for steps.
func (h *far) advances(n int) {
	h.t.Helper()
	at := h.done()
	require.Eventually(h.t, func() bool { return h.done() >= at+n }, time.Minute, 5*time.Millisecond, "host %d stands still", h.i)
}

var hashOf = regexp.MustCompile(`"model_sha256":"([0-9a-f]{64})"`)

// ends waits for a host's end and returns the hash of the model that its workers know.
func (h *far) ends() string {
	h.t.Helper()
	require.NoError(h.t, h.cmd.Wait(), "host %d", h.i)
	m := hashOf.FindStringSubmatch(h.out.String())
	require.NotNil(h.t, m, "host %d says no result", h.i)
	return m[1]
}

// folders are where hosts wrote to.
func folders(hosts []*far) (dirs []string) {
	for _, h := range hosts {
		dirs = append(dirs, h.dir)
	}
	return dirs
}

// farConfig is a run that lasts for some seconds, and what its model is.
func farConfig(t *testing.T, dir string, steps int) (cfg, want string) {
	t.Helper()
	cfg = write(t, dir, "far.yaml", fmt.Sprintf(elastic, steps))
	return cfg, startJob(t, 1, cfg, filepath.Join(dir, "one")).finish(steps)
}

// TestRealPartition: five hosts that train, cut 3/2 and healed, over TLS. The three go on, the two wait and come back,
// and the model is that of an undisturbed run.
func TestRealPartition(t *testing.T) {
	if os.Getenv(envSoak) == "" {
		t.Skip("five launchers and their workers; make soak runs it, a short version is in collective/launch")
	}
	steps := 6000
	dir := t.TempDir()
	n := netns.New(t, 3, 2)
	cfg, want := farConfig(t, dir, steps)
	var hosts []*far
	for i := range 5 {
		hosts = append(hosts, farHost(t, n, i, cfg, dir))
		hosts[0].says("host is up", 1)
	}
	hosts[4].says("5 workers on 5 hosts", 1)
	hosts[0].advances(100)
	from := time.Now()
	n.Cut(true)
	hosts[0].says("3 workers on 3 hosts", 1)
	noticed := time.Since(from)
	hosts[3].says("this host is waiting", 1)
	hosts[4].says("this host is waiting", 1)
	still := hosts[4].done()
	hosts[0].advances(200)
	require.Equal(t, still, hosts[4].done(), "the smaller side takes no step")
	from = time.Now()
	n.Cut(false)
	hosts[4].says("5 workers on 5 hosts", 2)
	t.Logf("three of five went on %v after the cut; all were together %v after it healed", noticed, time.Since(from))
	require.Less(t, hosts[0].done(), steps, "the run goes on with all five")
	for _, h := range hosts {
		require.Equal(t, want, h.ends(), "host %d", h.i)
	}
	t.Logf("%d steps were completed in two views", usedOnce(t, steps, 16, folders(hosts)...))
}

// TestRealWitness: of two training hosts with a witness either may be lost.
func TestRealWitness(t *testing.T) {
	if os.Getenv(envSoak) == "" {
		t.Skip("make soak runs it, a short version is in collective/launch")
	}
	for lose := range 2 {
		t.Run(fmt.Sprintf("lose %d", lose), func(t *testing.T) {
			steps := 4000
			dir := t.TempDir()
			n := netns.New(t, 2, 1)
			cfg, want := farConfig(t, dir, steps)
			hosts := []*far{farHost(t, n, 0, cfg, dir)}
			hosts[0].says("host is up", 1)
			hosts = append(hosts, farHost(t, n, 1, cfg, dir))
			w := farHost(t, n, 2, "", dir)
			hosts[0].says("2 workers on 3 hosts", 1)
			hosts[0].advances(100)
			alone := ": 1 worker on 2 hosts"
			before := strings.Count(hosts[1-lose].said.String(), alone)
			require.NoError(t, hosts[lose].cmd.Process.Kill())
			from := time.Now()
			hosts[1-lose].says(alone, before+1)
			t.Logf("the other host went on %v after the loss", time.Since(from))
			require.Equal(t, want, hosts[1-lose].ends())
			require.NoError(t, w.cmd.Wait())
		})
	}
}
