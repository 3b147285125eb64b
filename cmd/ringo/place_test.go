package main

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"ringo/collective/control"
)

// TestLaunchRefusesMissingGPU: what is not there is said once, before any worker starts.
func TestLaunchRefusesMissingGPU(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		device string
		gpus   int
		why    string
	}{
		{"cuda", 0, "--device cuda: no driver"},
		{"cuda:0", 0, "--device cuda:0: no driver"},
		{"cuda:2", 2, "--device cuda:2: no such GPU; those of this machine that can be used are numbered from 0 to 1"},
		{"cuda:x", 2, "--device cuda:x: no such GPU"},
	} {
		l := launchCmd{N: 2, deviceFlags: deviceFlags{Device: c.device}}
		require.ErrorContains(t, l.place(func() (int, error) { return c.gpus, errors.New("no driver") }, 16), c.why)
	}
}

// TestOneWorkerPerGPU: without -n there is a worker per GPU, each on its own; without GPUs there is one. More workers than GPUs take them in turn.
func TestOneWorkerPerGPU(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		n            int
		device       string
		gpus, lanes  int
		want         int
		first, third string
	}{
		{0, "auto", 0, 16, 1, "auto", "auto"},
		{0, "auto", 8, 16, 8, "cuda:0", "cuda:2"},
		{0, "auto", 8, 4, 4, "cuda:0", "cuda:2"},
		{0, "cuda", 4, 16, 4, "cuda:0", "cuda:2"},
		{0, "cpu", 8, 16, 1, "cpu", "cpu"},
		{3, "auto", 8, 16, 3, "cuda:0", "cuda:2"},
		{4, "auto", 1, 16, 4, "cuda:0", "cuda:0"}, // they share it
		{3, "auto", 2, 16, 3, "cuda:0", "cuda:0"}, // and the second worker has cuda:1
		{3, "cuda", 2, 16, 3, "cuda:0", "cuda:0"},
		{3, "cuda:1", 2, 16, 3, "cuda:1", "cuda:1"},
		{0, "cuda:1", 2, 16, 1, "cuda:1", "cuda:1"},
		{2, "soft", 2, 16, 2, "soft", "soft"},
	} {
		l := launchCmd{N: c.n, deviceFlags: deviceFlags{Device: c.device}}
		require.NoError(t, l.place(func() (int, error) { return c.gpus, nil }, c.lanes))
		require.Equal(t, c.want, l.N, "%+v", c)
		require.Equal(t, l.gpus > 0 && (l.N > l.gpus || c.n == 0 && l.N < l.gpus), l.unmatched != "", "%+v", c)
		require.Contains(t, l.workerArgs(control.Welcome{Local: 0}), c.first, "%+v", c)
		require.Contains(t, l.workerArgs(control.Welcome{Local: 2}), c.third, "%+v", c)
	}
}
