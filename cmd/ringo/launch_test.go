package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// elastic is a small run of 16 lanes whose result does not depend on who computes it.
const elastic = `model: {name: mlp, sizes: [16]}
data: {source: synthetic, shape: [1, 4, 4], classes: 3, samples: 256, sampling: epoch}
train: {steps: %d, batch: 32, lanes: 16, eval_every: 100, log_every: 1, reduce: reproducible}
optim: {name: adamw, lr: 1e-2}
`

// job is a `ringo launch` that runs.
type job struct {
	t     *testing.T
	cmd   *exec.Cmd
	lines *bufio.Scanner
	err   lockedBuffer
	steps []int
	sha   string
}

// command prepares a command line whose program is this test binary, which then is ringo.
func command(t *testing.T, line []string) *job {
	j := &job{t: t, cmd: exec.Command(line[0], line[1:]...)}
	j.cmd.Env = append(os.Environ(), asRingo+"=1")
	return j
}

// startJob runs ringo launch in a process of its own.
func startJob(t *testing.T, n int, cfg, out string, args ...string) *job {
	t.Helper()
	args = append([]string{"launch", "-n", fmt.Sprint(n), "-c", cfg, "--out", out, "--device", "cpu", "--json"}, args...)
	j := command(t, append([]string{os.Args[0]}, args...))
	j.cmd.Env = append(j.cmd.Env, "XDG_CONFIG_HOME="+filepath.Dir(out))
	j.cmd.Stderr = &j.err
	pipe, err := j.cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, j.cmd.Start())
	t.Cleanup(func() { j.cmd.Process.Kill() })
	j.lines = bufio.NewScanner(pipe)
	return j
}

// reach reads events up to a step; false at the end.
func (j *job) reach(step int) bool {
	j.t.Helper()
	for j.lines.Scan() {
		var e struct {
			Event string `json:"event"`
			Step  int    `json:"step"`
			SHA   string `json:"model_sha256"`
		}
		require.NoError(j.t, json.Unmarshal(j.lines.Bytes(), &e), j.lines.Text())
		switch e.Event {
		case "step":
			j.steps = append(j.steps, e.Step)
		case "done":
			j.sha = e.SHA
		}
		if e.Event == "step" && e.Step >= step {
			return true
		}
	}
	return false
}

// finish waits for the end and returns the model's hash. Every step must have been said once, in order.
func (j *job) finish(steps int) string {
	j.t.Helper()
	for j.reach(1 << 30) {
	}
	require.NoError(j.t, j.cmd.Wait(), j.err.String())
	require.Len(j.t, j.steps, steps)
	for i, s := range j.steps {
		require.Equal(j.t, i+1, s)
	}
	require.Len(j.t, j.sha, 64)
	return j.sha
}

// workers returns the processes of a job's workers, which one thread of the launcher started.
func (j *job) workers() []int {
	var pids []int
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", j.cmd.Process.Pid))
	require.NoError(j.t, err)
	for _, task := range tasks {
		raw, _ := os.ReadFile(task)
		for _, f := range strings.Fields(string(raw)) {
			var pid int
			fmt.Sscan(f, &pid)
			pids = append(pids, pid)
		}
	}
	return pids
}

// TestLaunchGivesOneModel: any number of workers, kills and joins: the same bits.
func TestLaunchGivesOneModel(t *testing.T) {
	t.Parallel()
	const steps = 300
	dir := t.TempDir()
	cfg := write(t, dir, "elastic.yaml", fmt.Sprintf(elastic, steps))
	want := startJob(t, 1, cfg, filepath.Join(dir, "one")).finish(steps)
	require.Equal(t, want, startJob(t, 3, cfg, filepath.Join(dir, "three")).finish(steps))

	hit := startJob(t, 3, cfg, filepath.Join(dir, "hit"), "--bind", "127.0.0.1:0")
	require.True(t, hit.reach(20))
	for i := range 2 {
		pids := hit.workers()
		require.NotEmpty(t, pids)
		require.NoError(t, syscall.Kill(pids[i%len(pids)], syscall.SIGKILL))
		require.True(t, hit.reach(hit.steps[len(hit.steps)-1]+30))
	}
	require.Equal(t, want, hit.finish(steps))
	for _, run := range []string{"one", "three", "hit"} {
		usedOnce(t, steps, 16, filepath.Join(dir, run))
	}
	for _, file := range []string{"config.yaml", "metrics.jsonl", "loss.png", "checkpoints/latest/model.safetensors"} {
		require.FileExists(t, filepath.Join(dir, "hit", file))
	}
	key, err := os.Stat(filepath.Join(dir, "ringo", "elastic.key"))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), key.Mode().Perm())
	raw, err := os.ReadFile(filepath.Join(dir, "ringo", "elastic.key"))
	require.NoError(t, err)
	require.NotContains(t, hit.err.String(), strings.TrimSpace(string(raw)), "no log has the key")
}

func TestLaunchIsInterruptedAndResumed(t *testing.T) {
	t.Parallel()
	const steps = 600
	dir := t.TempDir()
	cfg := write(t, dir, "elastic.yaml", fmt.Sprintf(elastic, steps))
	out := filepath.Join(dir, "run")
	j := startJob(t, 2, cfg, out)
	require.True(t, j.reach(20))
	require.NoError(t, j.cmd.Process.Signal(os.Interrupt))
	from := time.Now()
	for j.reach(0) {
	}
	_ = j.cmd.Wait()
	require.Less(t, time.Since(from), 20*time.Second)
	require.Equal(t, exitFailed, j.cmd.ProcessState.ExitCode(), j.err.String())
	done := j.steps[len(j.steps)-1]
	require.Less(t, done, steps)
	require.FileExists(t, filepath.Join(out, "checkpoints/latest/model.safetensors"))

	again := startJob(t, 2, cfg, out, "--resume")
	for again.reach(0) {
	}
	require.NoError(t, again.cmd.Wait(), again.err.String())
	require.Equal(t, steps, again.steps[len(again.steps)-1])
	require.NotEmpty(t, again.sha)
	require.LessOrEqual(t, again.steps[0], done+1)
}

func TestLaunchUsage(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cfg := write(t, dir, "elastic.yaml", fmt.Sprintf(elastic, 10))
	for want, args := range map[string][]string{
		"expected 1 to 16":                {"launch", "-n", "17", "-c", cfg},
		"no NCCL":                         {"launch", "-c", cfg, "--collective", "nccl"},
		"no key for job":                  {"launch", "-c", cfg, "--join", "127.0.0.1:1", "--key-file", filepath.Join(dir, "none")},
		"--job and --join are needed":     {"witness"},
		"no launcher started this proces": {"worker", "-c", cfg, "--out", dir},
	} {
		code, _, errs := ringo(t, args...)
		require.Equal(t, exitUsage, code, errs)
		require.Contains(t, errs, want)
	}
}
