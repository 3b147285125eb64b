package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"ringo/collective/control"
)

// TestOneWorkerPerGPU: without -n there is a worker per GPU, each on its own; without GPUs there is one.
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
		{4, "auto", 1, 16, 4, "auto", "auto"}, // they share it
	} {
		l := launchCmd{N: c.n, deviceFlags: deviceFlags{Device: c.device}}
		l.place(c.gpus, c.lanes)
		require.Equal(t, c.want, l.N, "%+v", c)
		require.Contains(t, l.workerArgs(control.Welcome{Local: 0}), c.first, "%+v", c)
		require.Contains(t, l.workerArgs(control.Welcome{Local: 2}), c.third, "%+v", c)
	}
}
