//go:build cuda

package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"ringo/cuda/nccl"
	"ringo/cuda/soft"
)

// onGPU runs a command line on the software device, in a process of its own: the driver reads its environment once.
func onGPU(t *testing.T, environ []string, args ...string) (out, errs string, err error) {
	t.Helper()
	j := command(t, append([]string{os.Args[0]}, args...))
	j.cmd.Env = append(j.cmd.Env, append([]string{"SOFTCUDA_THREADS=1"}, environ...)...)
	var o, e bytes.Buffer
	j.cmd.Stdout, j.cmd.Stderr = &o, &e
	err = j.cmd.Run()
	return o.String(), e.String(), err
}

// TestBrokenGPU: a GPU that fails in the middle of a run ends it with one line that says what it means; the run goes on from its
// last checkpoint, to the bits of an undisturbed one.
func TestBrokenGPU(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	const steps = 12
	cfg := write(t, dir, "fault.yaml", fmt.Sprintf(elastic, steps))
	args := []string{"train", "-c", cfg, "--device", "soft", "--json", "--set", "train.batch=8", "--set", "train.lanes=4", "--set", "train.save_every=2"}
	sha := func(out string) any {
		list := events(t, out)
		return list[len(list)-1]["model_sha256"]
	}
	out, errs, err := onGPU(t, nil, append(args, "--out", filepath.Join(dir, "undisturbed"))...)
	require.NoError(t, err, errs)
	want := sha(out)
	for _, deferred := range []string{"0", "1"} {
		run := append(args, "--out", filepath.Join(dir, "hit"+deferred))
		out, errs, err := onGPU(t, []string{"SOFTCUDA_FAIL=lanes_add:21", "SOFTCUDA_DEFERRED=" + deferred}, run...)
		require.Error(t, err)
		require.NotContains(t, out, `"done"`)
		require.Contains(t, errs, "broke off its work: CUDA_ERROR_ILLEGAL_ADDRESS")
		require.Contains(t, errs, "start again, training with --resume")
		require.Equal(t, 1, strings.Count(errs, "CUDA_ERROR"), errs)
		out, errs, err = onGPU(t, nil, append(run, "--resume")...)
		require.NoError(t, err, errs)
		require.NotEqual(t, 1.0, events(t, out)[1]["step"])
		require.Equal(t, want, sha(out))
	}
}

// TestWorkerWithBrokenGPU: of two workers one loses its GPU; it alone is replaced, and the model is that of an undisturbed run.
func TestWorkerWithBrokenGPU(t *testing.T) {
	t.Setenv("SOFTCUDA_THREADS", "1")
	const steps = 60
	dir := t.TempDir()
	cfg := write(t, dir, "fault.yaml", strings.NewReplacer("lanes: 16", "lanes: 4", "batch: 32", "batch: 8").Replace(fmt.Sprintf(elastic, steps)))
	want := startJob(t, 1, cfg, filepath.Join(dir, "undisturbed"), "--device", "soft").finish(steps)
	device, err := soft.Library()
	require.NoError(t, err)
	t.Setenv(nccl.EnvLibrary, filepath.Join(filepath.Dir(device), soft.NCCLFile))
	for _, args := range [][]string{{"--collective", "ring"}, {"--collective", "nccl", "--set", "train.reduce=ring"}} {
		for _, deferred := range []string{"0", "1"} {
			t.Setenv("SOFTCUDA_DEFERRED", deferred)
			t.Setenv("SOFTCUDA_FAIL", "lanes_add:30:"+filepath.Join(dir, args[1]+deferred))
			hit := startJob(t, 2, cfg, filepath.Join(dir, "hit"), append(args, "--device", "soft")...)
			require.Equal(t, want, hit.finish(steps))
			require.Equal(t, 1, strings.Count(hit.err.String(), "broke off its work: CUDA_ERROR_ILLEGAL_ADDRESS"), hit.err.String())
			require.Equal(t, 1, strings.Count(hit.err.String(), "it is started again"), hit.err.String())
		}
	}
}

// TestUnusableGPU: what the kernels need and a GPU has not is said by name, before anything else.
func TestUnusableGPU(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cfg := write(t, dir, "fault.yaml", fmt.Sprintf(elastic, 4))
	for environ, why := range map[string]string{
		"SOFTCUDA_VERSION=11080":   "device 0: its driver is for CUDA 11.8, the kernels need one for CUDA 12.0 or newer",
		"SOFTCUDA_CAPABILITY=75":   "device 0: its compute capability is 7.5, the kernels need 8.0 or newer",
		"CUDA_VISIBLE_DEVICES=3":   `device 1 does not exist: this machine has 1, numbered from 0 (CUDA_VISIBLE_DEVICES is "3"`,
		"SOFTCUDA_BUSY=1":          "device 0: CUDA_ERROR_DEVICE_UNAVAILABLE: reported by the software device; another process may have it",
		"SOFTCUDA_DEVICES=0":       "no CUDA device",
		"RINGO_SOFT_LIBRARY=/none": "/none",
		"SOFTCUDA_MEMORY=0":        "0 MiB free of 0",
	} {
		device := "soft"
		if strings.HasPrefix(environ, "CUDA_VISIBLE") {
			device = "soft:1"
		}
		_, errs, err := onGPU(t, []string{environ}, "train", "-c", cfg, "--device", device, "--out", filepath.Join(dir, "run"))
		require.Error(t, err, environ)
		require.Contains(t, errs, why)
		require.Equal(t, 1, strings.Count(errs, "\n"), errs)
	}
}
