//go:build cuda

package cuda_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"ringo/kernels"
	"ringo/models/golden"
	"ringo/runtime/backend"
	"ringo/runtime/backend/backendtest"
	"ringo/runtime/graph"
	"ringo/runtime/plan"
	"ringo/runtime/tensor"
)

// warpgroupShapes are attentions of several tiles with tails on every side, grouped heads, masks of queries that do not end where the
// keys do, and heads that are filled up.
func warpgroupShapes(grad bool) []shape {
	var out []shape
	for i, z := range []graph.AttentionSizes{
		{B: 2, T: 300, S: 300, H: 4, KV: 2, D: 64}, {B: 1, T: 70, S: 331, H: 2, KV: 1, D: 128}, {B: 1, T: 200, S: 90, H: 1, KV: 1, D: 64},
		{B: 1, T: 129, S: 257, H: 3, KV: 3, D: 104}, {B: 1, T: 5, S: 9, H: 6, KV: 2, D: 8},
	} {
		y, kv, lse := graph.In(z.B, z.T, z.H, z.D), graph.In(z.B, z.S, z.KV, z.D), graph.InRange(4, 6, z.B, z.H, z.T).Statistic()
		s := shape{"attention", graph.Attention{Causal: i != 2}, []graph.SampleIn{y, kv, kv}}
		if grad {
			s = shape{"attention_grad", s.attrs, []graph.SampleIn{y, y, kv, kv, y, lse, graph.In(z.B, z.H, z.T).Statistic()}}
		}
		out = append(out, s)
	}
	return out
}

// byWarpgroups is the device under test, made to take kernels for warpgroups.
func byWarpgroups(t *testing.T) backend.Backend {
	t.Helper()
	device := tested(t)
	versions := device.(backend.Versioned)
	if !slices.Contains(versions.Versions(), kernels.VersionWGMMA) {
		t.Skip("this GPU has no products of warpgroups")
	}
	require.NoError(t, versions.Force(kernels.VersionWGMMA))
	return device
}

// TestWarpgroups runs attention in bf16 by its kernels for warpgroups: every sample of the op table, several tiles, and twice to the
// same bits.
func TestWarpgroups(t *testing.T) {
	t.Parallel()
	device := byWarpgroups(t)
	others := map[string]string{}
	for _, op := range graph.Ops() {
		if op.Name != "attention" && op.Name != "attention_grad" {
			others[op.Name] = "no attention"
		}
	}
	backendtest.Run(t, device, open(t, "cpu", backend.Options{Reference: true}), backendtest.Options{Storage: tensor.BF16, Skip: others})
	cpu := open(t, "cpu", backend.Options{})
	for _, s := range slices.Concat(attentionShapes(false), attentionShapes(true), warpgroupShapes(false), warpgroupShapes(true)) {
		t.Run(s.name(), func(t *testing.T) {
			want, got := s.result(t, cpu, tensor.BF16, tensor.F32), s.result(t, device, tensor.BF16, tensor.F32)
			again := s.result(t, device, tensor.BF16, tensor.F32)
			for i := range want {
				backendtest.Compare(t, want[i], got[i], backendtest.TolBF16, fmt.Sprintf("%s, output %d", s.op, i))
				require.Equal(t, got[i].Bytes(), again[i].Bytes())
			}
		})
	}
}

// Ten steps of a small GPT in bf16, as PyTorch takes them.
func TestWarpgroupsGolden(t *testing.T) {
	t.Parallel()
	c, err := golden.Load("../models/testdata/gpt.json")
	require.NoError(t, err)
	losses, _ := trainGolden(t, byWarpgroups(t), c, plan.Options{Precision: tensor.BF16, Storage: tensor.BF16}, 1)
	for step, want := range c.LossesF32 {
		require.InDelta(t, want, losses[step], 2e-2*c.LossesF32[0], "loss of step %d", step)
	}
}
