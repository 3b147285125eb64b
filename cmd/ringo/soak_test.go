package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// holds is what a process has open.
type holds struct{ files, threads, kib int }

// holdings reads what the launcher of a job holds: open files, threads, resident memory.
func (j *job) holdings() holds {
	j.t.Helper()
	h := holds{}
	proc := fmt.Sprintf("/proc/%d/", j.cmd.Process.Pid)
	files, err := os.ReadDir(proc + "fd")
	require.NoError(j.t, err)
	h.files = len(files)
	status, err := os.ReadFile(proc + "status")
	require.NoError(j.t, err)
	for line := range strings.Lines(string(status)) {
		if v, ok := strings.CutPrefix(line, "Threads:"); ok {
			fmt.Sscan(v, &h.threads)
		}
		if v, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			fmt.Sscan(v, &h.kib)
		}
	}
	return h
}

// TestSoakOfRealWorkers kills training workers one after the other while their replacements join, 6 times, or as often as
// RINGO_SOAK says: the model is that of an undisturbed run, every sample counts once, and the launcher holds no more at
// the end than at the start.
func TestSoakOfRealWorkers(t *testing.T) {
	kills, pace, each := 6, 20, 1300
	if n, err := strconv.Atoi(os.Getenv(envSoak)); err == nil {
		kills, pace, each = n, 100, 2000 // steps enough for every replacement to join before the next kill
	} else {
		t.Parallel()
	}
	steps := each * kills
	dir := t.TempDir()
	cfg := write(t, dir, "elastic.yaml", fmt.Sprintf(elastic, steps))
	set := []string{"--set", "train.eval_every=1000000", "--set", "train.log_every=1"}
	want := startJob(t, 1, cfg, filepath.Join(dir, "one"), set...).finish(steps)

	hit := startJob(t, 4, cfg, filepath.Join(dir, "hit"), append(set, "--restarts", fmt.Sprint(2*kills))...)
	require.True(t, hit.reach(50))
	before, killed := hit.holdings(), 0
	for i := 0; killed < kills && hit.steps[len(hit.steps)-1] < steps-2*pace; i++ {
		for strings.Count(hit.err.String(), ": 4 workers on 1 host") <= killed && hit.steps[len(hit.steps)-1] < steps-2*pace {
			require.True(t, hit.reach(hit.steps[len(hit.steps)-1]+1)) // state lives on in workers: the replacement must have joined
		}
		pids := hit.workers()
		if syscall.Kill(pids[i%len(pids)], syscall.SIGKILL) == nil {
			killed++
			if killed == 5 {
				before = hit.holdings() // warm
			}
		}
		require.True(t, hit.reach(hit.steps[len(hit.steps)-1]+pace))
	}
	after := hit.holdings()
	require.Equal(t, want, hit.finish(steps))
	again := usedOnce(t, steps, 16, filepath.Join(dir, "hit"))
	breaks, _ := recoveries(hit.err.String())
	require.NotEmpty(t, breaks)
	t.Logf("measured: %d kills in %d steps, %d steps completed in two views, same model; files %d then %d, threads %d then %d, memory %d then %d MiB; recoveries %s, 95%% within %d ms",
		killed, steps, again, before.files, after.files, before.threads, after.threads, before.kib>>10, after.kib>>10, summarize(breaks), breaks[len(breaks)*95/100].all)
	require.GreaterOrEqual(t, killed, kills/2)
	require.True(t, !soaking() || killed == kills, "%d of %d kills before the run's end", killed, kills)
	require.LessOrEqual(t, again, killed, "more than the steps under way was done again: the state was lost")
	require.LessOrEqual(t, after.files, before.files+8, "open files grow")
	require.LessOrEqual(t, after.threads, before.threads+8, "threads grow")
	require.LessOrEqual(t, after.kib, before.kib+32<<10, "memory grows")
	if path := os.Getenv("RINGO_SOAK_LOG"); path != "" {
		require.NoError(t, os.WriteFile(path, []byte(hit.err.String()), 0o600))
	}
}
