package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
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

// farHost starts host i with one worker, or as further flags say; host 0 begins the job. Without a configuration it is a
// witness.
func farHost(t *testing.T, n *netns.Network, i int, cfg, dir string, flags ...string) *far {
	t.Helper()
	h := &far{i: i, dir: filepath.Join(dir, fmt.Sprintf("host%d", i))}
	args := []string{"launch", "-c", cfg, "--out", h.dir, "--device", "cpu", "--json", "--threads", "1"}
	if cfg == "" {
		args = []string{"witness"}
	}
	args = append(args, "--job", "far", "--bind", netns.Addr(i)+":7946")
	args = append(args, flags...)
	if i > 0 {
		args = append(args, "--join", netns.Addr(0)+":7946")
	}
	h.begin(t, dir, args, n.In(i)...)
	return h
}

// begin starts a host's process, by a command that goes before the line if there is one.
func (h *far) begin(t *testing.T, dir string, args []string, before ...string) {
	t.Helper()
	h.job = command(t, slices.Concat(before, []string{os.Args[0]}, args))
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
			t.Logf("host %d:\n%s", h.i, said[max(0, len(said)-4000):])
		}
	})
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

// TestRealPartition: five hosts that train, cut 3/2 and healed, over TLS. The three go on, the two wait and come back,
// and the model is that of an undisturbed run.
func TestRealPartition(t *testing.T) {
	onlySoak(t) // a short version is in collective/launch
	dir := t.TempDir()
	n := netns.New(t, 3, 2)
	r := newTrial(t, dir, 0, 300)
	var hosts []*far
	for i := range 5 {
		hosts = append(hosts, farHost(t, n, i, r.cfg, dir))
		hosts[0].says("host is up", 1)
	}
	hosts[4].says("5 workers on 5 hosts", 1)
	hosts[0].advances(10)
	from := time.Now()
	n.Cut(true)
	hosts[0].says("3 workers on 3 hosts", 1)
	noticed := time.Since(from)
	hosts[3].says("this host is waiting", 1)
	hosts[4].says("this host is waiting", 1)
	still := hosts[4].done()
	hosts[0].advances(20)
	require.Equal(t, still, hosts[4].done(), "the smaller side takes no step")
	from = time.Now()
	n.Cut(false)
	hosts[4].says("5 workers on 5 hosts", 2)
	together := time.Since(from)
	require.Less(t, hosts[0].done(), r.steps, "the run goes on with all five")
	for _, h := range hosts {
		require.Equal(t, r.want, h.ends(), "host %d", h.i)
	}
	t.Logf("measured: three of five agreed %v after the cut, two waited, all were together %v after it healed; one view per epoch, same model on all five, %d steps completed in two views",
		noticed.Round(time.Millisecond), together.Round(time.Millisecond), usedOnce(t, r.steps, r.lanes, folders(hosts)...))
}

// TestRealWitness: of two training hosts with a witness either may be lost.
func TestRealWitness(t *testing.T) {
	onlySoak(t) // a short version is in collective/launch
	for lose := range 2 {
		t.Run(fmt.Sprintf("lose %d", lose), func(t *testing.T) {
			dir := t.TempDir()
			n := netns.New(t, 2, 1)
			r := newTrial(t, dir, 0, 200)
			hosts := []*far{farHost(t, n, 0, r.cfg, dir)}
			hosts[0].says("host is up", 1)
			hosts = append(hosts, farHost(t, n, 1, r.cfg, dir))
			w := farHost(t, n, 2, "", dir)
			hosts[0].says("2 workers on 3 hosts", 1)
			hosts[0].advances(10)
			alone := ": 1 worker on 2 hosts"
			before := strings.Count(hosts[1-lose].said.String(), alone)
			require.NoError(t, hosts[lose].cmd.Process.Kill())
			from := time.Now()
			hosts[1-lose].says(alone, before+1)
			noticed := time.Since(from)
			require.Equal(t, r.want, hosts[1-lose].ends())
			require.NoError(t, w.cmd.Wait())
			t.Logf("measured: host %d lost, the other one agreed with the witness after %v and finished with the same model", lose+1, noticed.Round(time.Millisecond))
		})
	}
}
