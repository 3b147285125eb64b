package main

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"ringo/collective/sim"
	"ringo/internal/netns"
)

// wide is a run whose steps are mostly the sum of its gradient: (16·512 + 512) + (512² + 512) + (512·3 + 3) values.
const wide = `model: {name: mlp, sizes: [512, 512]}
data: {source: synthetic, shape: [1, 4, 4], classes: 3, samples: 256, sampling: epoch}
train: {steps: 70, batch: %d, lanes: %d, eval_every: 1000000, log_every: 1, reduce: %s, wire: %s}
optim: {name: sgd, lr: 1e-3}
`

const wideParameters = 16*512 + 512 + 512*512 + 512 + 512*3 + 3

var stepTook = regexp.MustCompile(`"step_ms":([0-9.e+-]+)`)

// stepOn runs a job of four workers on hosts whose links are shaped, and returns the median step.
func stepOn(t *testing.T, hosts int, reduce, wire, rate string) time.Duration {
	t.Helper()
	dir := t.TempDir()
	cfg := write(t, dir, "wide.yaml", fmt.Sprintf(wide, 8, 4, reduce, wire))
	n := netns.New(t, hosts/2, hosts-hosts/2)
	var all []*far
	for i := range hosts {
		n.Shape(i, rate)
		all = append(all, farHost(t, n, i, cfg, filepath.Join(dir, "runs"), "-n", strconv.Itoa(4/hosts), "--min-workers", "4"))
		all[0].says("host is up", 1)
	}
	for _, h := range all {
		require.NoError(t, h.cmd.Wait(), h.said.String())
	}
	return medianStep(t, all[0].out.String())
}

// medianStep reads a job's events, without the first ten steps: they fill queues, and the bucket that shapes.
func medianStep(t *testing.T, events string) time.Duration {
	t.Helper()
	var ms []float64
	for _, m := range stepTook.FindAllStringSubmatch(events, -1) {
		x, err := strconv.ParseFloat(m[1], 64)
		require.NoError(t, err)
		ms = append(ms, x)
	}
	require.Greater(t, len(ms), 40)
	ms = ms[10:]
	slices.Sort(ms)
	return time.Duration(ms[len(ms)/2] * 1e6)
}

// stepAlone is a worker's part of a step without anybody to talk to: one of the four lanes.
func stepAlone(t *testing.T) time.Duration {
	t.Helper()
	dir := t.TempDir()
	h := near(t, 0, write(t, dir, "wide.yaml", fmt.Sprintf(wide, 2, 1, "ring", "exact")), dir, "")
	require.NoError(t, h.cmd.Wait(), h.said.String())
	return medianStep(t, h.out.String())
}

// TestStepTimeOnShapedLinks holds sim.StepTime against real jobs on links of 200 Mbit/s: sums in a ring, in the order of a
// tree, within hosts first, and with gradients coded to fewer bytes.
func TestStepTimeOnShapedLinks(t *testing.T) {
	onlySoak(t)
	const rate = 200e6 / 8 * 1448 / 1514 // bytes of data a second in frames of 1,500 bytes
	compute := stepAlone(t)
	var said []string
	for _, c := range []struct {
		name         string
		hosts        int
		reduce, wire string
		method       sim.Method
		coding       sim.Wire
	}{
		{"ring", 4, "ring", "exact", sim.Ring, sim.F32},
		{"ring, bf16", 4, "ring", "bf16", sim.Ring, sim.BF16},
		{"ring, int8", 4, "ring", "int8", sim.Ring, sim.INT8},
		{"reproducible", 4, "reproducible", "exact", sim.Reproducible, sim.F32},
		{"hierarchical", 2, "ring", "exact", sim.Hierarchical, sim.F32},
	} {
		measured := stepOn(t, c.hosts, c.reduce, c.wire, "200mbit")
		e, err := sim.StepTime(sim.Cluster{Nodes: c.hosts, WorkersPerNode: 4 / c.hosts, Network: sim.Link{Latency: 100 * time.Microsecond, Bandwidth: rate},
			Local: sim.Link{Latency: 10 * time.Microsecond, Bandwidth: 5e9}},
			sim.Step{Parameters: wideParameters, Compute: compute, Method: c.method, Wire: c.coding})
		require.NoError(t, err)
		ratio := measured.Seconds() / e.Step.Seconds()
		t.Logf("| %s | %d × %d | %.1f ms | %.1f ms | %.1f ms | %.2f |", c.name, c.hosts, 4/c.hosts, ms(e.Reduce), ms(e.Step), ms(measured), ratio)
		said = append(said, fmt.Sprintf("%s %.2f", c.name, ratio))
		require.InDelta(t, 1, ratio, 0.25, c.name)
	}
	t.Logf("measured: real step / predicted step: %s (compute %.1f ms)", strings.Join(said, "; "), ms(compute))
}

func ms(d time.Duration) float64 { return d.Seconds() * 1e3 }
