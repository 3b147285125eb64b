//go:build cuda

package main

import (
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"ringo/cuda/nccl"
	"ringo/cuda/soft"
)

// TestKilledWorkerOfNCCL: two workers on software devices sum by the simulated NCCL, and one is killed in the middle. The other
// aborts its communicator and goes on alone, a replacement joins by a communicator of its own view, and the model is that
// of an undisturbed run: lanes are summed in the order of one tree, and two numbers in any order.
func TestKilledWorkerOfNCCL(t *testing.T) {
	device, err := soft.Library()
	require.NoError(t, err)
	t.Setenv(nccl.EnvLibrary, filepath.Join(filepath.Dir(device), soft.NCCLFile))
	t.Setenv("SOFTCUDA_THREADS", "1")
	const steps = 240
	dir := t.TempDir()
	cfg := write(t, dir, "nccl.yaml", strings.NewReplacer("reduce: reproducible", "reduce: ring", "lanes: 16", "lanes: 4", "samples: 256", "samples: 64", "batch: 32", "batch: 8").Replace(fmt.Sprintf(elastic, steps)))
	args := []string{"--device", "soft", "--collective", "nccl", "--set", "train.eval_every=1000000", "--restarts", "3"}
	want := startJob(t, 2, cfg, filepath.Join(dir, "undisturbed"), args...).finish(steps)

	hit := startJob(t, 2, cfg, filepath.Join(dir, "hit"), args...)
	for killed := range 2 { // the second one is rank 0, which made the communicator's ID, or its replacement
		require.True(t, hit.reach(40+80*killed))
		pids := hit.workers()
		require.Len(t, pids, 2)
		require.NoError(t, syscall.Kill(pids[1-killed], syscall.SIGKILL))
		for strings.Count(hit.err.String(), ": 2 workers on 1 host") <= killed+1 && hit.reach(hit.steps[len(hit.steps)-1]+1) {
		}
	}
	require.Equal(t, want, hit.finish(steps))
	require.GreaterOrEqual(t, strings.Count(hit.err.String(), ": 2 workers on 1 host"), 3, hit.err.String())
}
