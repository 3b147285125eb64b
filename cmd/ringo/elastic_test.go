package main

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestWorlds: any number of workers makes the same model, to the bit.
func TestWorlds(t *testing.T) {
	onlySoak(t)
	dir := t.TempDir()
	r := newTrial(t, dir, 0, 40)
	for _, n := range []int{2, 3, 4, 7} {
		out := filepath.Join(dir, fmt.Sprint(n))
		require.Equal(t, r.want, startJob(t, n, r.cfg, out).finish(r.steps), "%d workers", n)
		usedOnce(t, r.steps, r.lanes, out)
	}
	t.Logf("measured: one model_sha256, %.12s…, for -n 1, 2, 3, 4 and 7 (gpt-char's model, %d steps)", r.want, r.steps)
}

// kill ends a worker of the job and waits for so many further steps.
func (j *job) kill(pid, steps int) {
	j.t.Helper()
	require.NoError(j.t, syscall.Kill(pid, syscall.SIGKILL))
	require.True(j.t, j.reach(j.newest()+steps), j.err.String())
}

func (j *job) newest() int {
	if len(j.steps) == 0 {
		return 0
	}
	return j.steps[len(j.steps)-1]
}

// whole waits until the job has had a view of all its workers so many times.
func (j *job) whole(text string, times int) {
	j.t.Helper()
	for strings.Count(j.err.String(), text) < times {
		require.True(j.t, j.reach(j.newest()+1), j.err.String())
	}
}

// TestKillsOfRealWorkers kills the lowest-numbered worker, one at random, and all but one in turn; each time the others go
// on, and those that replace the dead join: the model is that of an undisturbed run.
func TestKillsOfRealWorkers(t *testing.T) {
	onlySoak(t)
	dir := t.TempDir()
	r := newTrial(t, dir, 0, 300)
	var breaks, joins []recovery
	for name, script := range map[string]func(*job){
		"lowest and random": func(j *job) {
			j.kill(slices.Min(j.workers()), 5)
			j.whole(": 4 workers on 1 host", 2)
			pids := j.workers()
			j.kill(pids[rand.IntN(len(pids))], 5)
			j.whole(": 4 workers on 1 host", 3)
		},
		"all but one in turn": func(j *job) {
			pids := j.workers()
			slices.Sort(pids)
			for _, pid := range pids[:3] {
				j.kill(pid, 2)
			}
			j.whole(": 4 workers on 1 host", 2)
		},
	} {
		out := filepath.Join(dir, name)
		j := startJob(t, 4, r.cfg, out, "--threads", "1")
		j.whole(": 4 workers on 1 host", 1)
		require.True(t, j.reach(j.newest()+5))
		script(j)
		require.Less(t, j.newest(), r.steps, "%s: everyone was back before the end", name)
		require.Equal(t, r.want, j.finish(r.steps), name)
		again := usedOnce(t, r.steps, r.lanes, out)
		b, n := recoveries(j.err.String())
		t.Logf("%s: %d steps in two views; breaks %s; joins %s", name, again, summarize(b), summarize(n))
		breaks, joins = append(breaks, b...), append(joins, n...)
	}
	for _, list := range [][]recovery{breaks, joins} {
		slices.SortFunc(list, func(a, b recovery) int { return a.all - b.all })
	}
	t.Logf("measured: same model, every sample once; after kills %s; after joins %s", summarize(breaks), summarize(joins))
}

// near starts a host of a job on this machine; the first has nobody to join.
func near(t *testing.T, i int, cfg, dir, join string) *far {
	t.Helper()
	h := &far{i: i, dir: filepath.Join(dir, fmt.Sprintf("host%d", i))}
	args := []string{"launch", "-n", "1", "-c", cfg, "--out", h.dir, "--device", "cpu", "--json", "--threads", "1", "--job", "far", "--bind", "127.0.0.1:0"}
	if join != "" {
		args = append(args, "--join", join)
	}
	h.begin(t, dir, args)
	return h
}

// addr is where a host's launcher listens.
func (h *far) addr() string {
	h.t.Helper()
	h.says("host is up", 1)
	_, rest, _ := strings.Cut(h.said.String(), " addr=")
	addr, _, _ := strings.Cut(rest, "\n")
	return strings.TrimSpace(addr)
}

// TestAHostReturns: the host that began the job is killed, launcher and worker, and a new launcher joins in its place: it
// receives the state, and all end with the model of an undisturbed run.
func TestAHostReturns(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := newTrial(t, dir, 8000, 300)
	first := near(t, 0, r.cfg, dir, "")
	second := near(t, 1, r.cfg, dir, first.addr())
	third := near(t, 2, r.cfg, dir, first.addr())
	second.says(": 3 workers on 3 hosts", 1)
	second.advances(20)
	require.NoError(t, first.cmd.Process.Kill())
	from := time.Now()
	second.says(": 2 workers on 2 hosts", 1)
	second.advances(1)
	alone := time.Since(from)
	from = time.Now()
	again := near(t, 0, r.cfg, dir, second.addr())
	second.says(": 3 workers on 3 hosts", 2)
	back := time.Since(from)
	again.advances(1)
	require.Less(t, second.done(), r.steps, "the host was back before the end")
	for _, h := range []*far{second, third, again} {
		require.Equal(t, r.want, h.ends(), "host %d", h.i)
	}
	twice := usedOnce(t, r.steps, r.lanes, folders([]*far{second, third, again})...)
	t.Logf("measured: the others' next step %v after the kill, the returned host in the view %v after its start; same model, %d steps completed in two views",
		alone.Round(time.Millisecond), back.Round(time.Millisecond), twice)
}

// TestTheLastStateIsHandedOver: of two hosts one loses its worker, and the other, which alone has the state, is asked to
// leave at that moment. It waits for the first one's new worker, hands over, and goes. Leaving costs no step; the kill may cost one,
// which the worker that died had completed and the other had not.
func TestTheLastStateIsHandedOver(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := newTrial(t, dir, 8000, 300)
	goes := near(t, 0, r.cfg, dir, "")
	stays := near(t, 1, r.cfg, dir, goes.addr())
	stays.says(": 2 workers on 2 hosts", 1)
	stays.advances(20)
	require.NoError(t, syscall.Kill(stays.workers()[0], syscall.SIGKILL))
	from := time.Now()
	require.NoError(t, goes.cmd.Process.Signal(syscall.SIGTERM))
	require.Error(t, goes.cmd.Wait())
	left := time.Since(from)
	require.Equal(t, exitFailed, goes.cmd.ProcessState.ExitCode(), goes.said.String())
	require.Equal(t, r.want, stays.ends())
	twice := usedOnce(t, r.steps, r.lanes, folders([]*far{goes, stays})...)
	require.LessOrEqual(t, twice, 1, "steps done again")
	t.Logf("measured: the host that was asked to leave had handed over and was gone after %v; same model, %d steps completed in two views", left.Round(time.Millisecond), twice)
}
