//go:build cuda

package cuda

import (
	"math"
	"os"
	process "os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"ringo/cuda/driver"
	"ringo/kernels"
	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

// attentionCall is a gradient of attention of one sequence, on memory that nothing reads.
func attentionCall(d *device) *kernels.DeviceCall {
	a := graph.Attention{Heads: 2, KVHeads: 1, Dim: 64, Causal: true, Packed: true}
	of := func(t tensor.DType, shape ...int) kernels.DeviceView {
		return kernels.DeviceView{Type: graph.Type{DType: t, Shape: shape}, Ptr: 1 << 44}
	}
	y, qkv, lse := of(tensor.BF16, 1, 70, 128), of(tensor.BF16, 1, 70, 256), of(tensor.F32, 1, 2, 70)
	return &kernels.DeviceCall{Op: "attention_grad", Attrs: a, Precision: tensor.BF16, Device: d.info,
		In: []kernels.DeviceView{y, qkv, y, lse}, Out: []kernels.DeviceView{qkv}}
}

// bound are the commands of a call.
func bound(t *testing.T, d *device, c *kernels.DeviceCall) []string {
	t.Helper()
	b := &binder{d: d, commands: &driver.Commands{}}
	defer b.close()
	c.Queue = b
	require.NoError(t, kernels.BindDevice(c))
	return b.labels
}

// A trial runs both versions, finds both right, and what it found holds for processes that come later.
func TestVersionsAreTried(t *testing.T) {
	t.Parallel()
	d := softDevice(t)
	require.NoError(t, d.enter())
	defer d.leave()
	require.Contains(t, bound(t, d, attentionCall(d)), " (attention_dq_bf16_64)", "the software device takes the first")
	require.NoError(t, d.force(kernels.VersionWGMMA))
	require.Contains(t, bound(t, d, attentionCall(d)), " (attention_dq_hopper_64)")
	require.ErrorContains(t, d.force("best"), `no kernels of the kind "best": expected one of [mma wgmma]`)
	require.NoError(t, d.force(""))

	d.versions.kept.file, d.versions.tries = filepath.Join(t.TempDir(), "versions.json"), true
	bound(t, d, attentionCall(d))
	require.Len(t, d.versions.kept.entries, 1)
	for key, found := range d.versions.kept.entries {
		require.Equal(t, "attention_grad of 70 queries, 70 keys, 2/1 heads of 64, first 0, rows 256 256, 1 sequences", key)
		require.Regexp(t, `^(mma|wgmma): mma [0-9.e+]+ ms, wgmma [0-9.e+]+ ms$`, found)
		d.versions.kept.entries[key] = trying // as a process leaves it that does not come back from a trial
	}
	d.versions.kept.save()
	d.versions.kept.entries = map[string]string{}
	require.Contains(t, bound(t, d, attentionCall(d)), " (attention_dq_bf16_64)")
	require.Len(t, d.versions.said, 1)
	require.Contains(t, d.versions.said[0], "by mma: a process ended")
	require.FileExists(t, d.versions.kept.file)
	require.NoError(t, os.Remove(d.versions.kept.file))
}

// What is timed is the device's work, not that it was asked for: where work waits until somebody waits for it, as on a GPU, in a
// process of its own.
func TestTrialsWait(t *testing.T) {
	t.Parallel()
	cmd := process.Command(os.Args[0], "-test.run=^TestTrialsWaitChild$", "-test.v")
	cmd.Env = append(os.Environ(), "SOFTCUDA_DEFERRED=1")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	require.Contains(t, string(out), "--- PASS: TestTrialsWaitChild")
}

func TestTrialsWaitChild(t *testing.T) {
	if os.Getenv("SOFTCUDA_DEFERRED") != "1" {
		t.Skip("runs as a child of TestTrialsWait")
	}
	d := softDevice(t)
	require.NoError(t, d.enter())
	defer d.leave()
	x, y := upload(t, d, 256)
	list := &binder{d: d, commands: &driver.Commands{}}
	defer list.close()
	call := &kernels.DeviceCall{Device: d.info, Queue: list}
	for range 500 {
		require.NoError(t, call.Launch("planted_barrier", kernels.Grid(1), kernels.Block(256), 0, x, y))
	}
	trial := &trial{d: d, lists: []*binder{list}}
	start := time.Now()
	took, err := trial.run(0)
	require.NoError(t, err)
	require.Greater(t, took, time.Since(start)/2)
}

// Results that rounding does not explain are refused, NaN first of all.
func TestTrialFindsWrongResults(t *testing.T) {
	t.Parallel()
	f32 := graph.Type{DType: tensor.F32, Shape: tensor.Shape{3}}
	trial := &trial{out: []kernels.DeviceView{{Type: f32}}}
	want := raw([]float32{1, -4, 2})
	for _, c := range []struct {
		got  []float32
		says string
	}{
		{[]float32{1, -4, 2}, ""},
		{[]float32{1.03, -4, 2}, ""},
		{[]float32{1, -4, 2.04}, "element 2 of output 0 is off by 0.04"},
		{[]float32{1, float32(math.NaN()), 2}, "element 1 of output 0 is NaN, not -4"},
		{[]float32{1, float32(math.Inf(1)), 2}, "off by +Inf"},
	} {
		if says := trial.differ([][]byte{want}, [][]byte{raw(c.got)}); c.says == "" {
			require.Empty(t, says)
		} else {
			require.Contains(t, says, c.says)
		}
	}
}

// Code for Hopper's own instructions is loaded there and nowhere else.
func TestImageKinds(t *testing.T) {
	t.Parallel()
	for capability, kinds := range map[int][]string{
		80: {"sm_80.cubin.gz"}, 89: {"sm_80.cubin.gz"}, 90: {"sm_90.cubin.gz", "sm_90a.cubin.gz"}, 100: {"ptx.gz"}, 120: {"ptx.gz"},
	} {
		require.Equal(t, kinds, imageKinds(capability), capability)
	}
}
