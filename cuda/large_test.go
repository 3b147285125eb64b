//go:build cuda

package cuda

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"ringo/kernels"
	"ringo/models"
	"ringo/runtime/backend"
	"ringo/runtime/graph"
	"ringo/runtime/plan"
	"ringo/runtime/tensor"
)

// Jobs that no software device has the memory for are bound all the same, to addresses that nothing lies behind: every launch
// fits its kernel, its grid and the GPU's shared memory, and what a program needs is known.
func TestBindsLargeJobs(t *testing.T) {
	t.Parallel()
	const gib = 1 << 30
	for _, job := range []struct {
		model models.Config
		batch int
		most  float64 // GiB that the program needs, its scratch memory among them
	}{
		{models.Config{Name: "gpt", Layers: 12, Heads: 12, Width: 768, Context: 1024, Vocab: 50257}, 64, 26.5},
		{models.Config{Name: "gpt", Layers: 24, Heads: 16, Width: 1024, Context: 1024, Vocab: 50257}, 32, 36},
		{models.Config{Name: "resnet", Layers: 18, Input: tensor.Shape{3, 224, 224}, Classes: 1000}, 256, 20},
	} {
		t.Run(fmt.Sprint(job.model.Name, job.model.Width), func(t *testing.T) {
			t.Parallel()
			b := &Backend{softDevice(t)}
			m, err := models.New(job.model)
			require.NoError(t, err)
			g, err := graph.Build(func(g *graph.Graph) { require.NoError(t, m.Loss(g, job.batch, true)) })
			require.NoError(t, err)
			p, err := plan.Compile(g, backend.Tuned(b, plan.Options{Precision: tensor.BF16, Training: &plan.Training{Rule: func(graph.Leaf) plan.Update {
				return plan.Update{Op: "adamw", Attrs: graph.AdamW{Beta1: 0.9, Beta2: 0.95, Eps: 1e-8}, Slots: []string{"m", "v"}}
			}}}))
			require.NoError(t, err)
			c := &compiling{d: b.d, p: p, store: b.NewStore().(*store), missing: p.Tensors}
			for r := range c.base {
				c.base[r] = fakeBase(plan.Region(r))
			}
			count := &binder{d: b.d, scratch: 1 << 50}
			_, _, err = c.bind(count)
			require.NoError(t, err)
			n := c.needs(count.peak)
			t.Logf("%.2f GiB: parameters %.2f, activations %.2f, scratch %.3f", float64(n.total())/gib, float64(n.persist)/gib, float64(n.work)/gib, float64(n.scratch)/gib)
			require.Less(t, float64(n.total())/gib, job.most)
		})
	}
}

// A launch that no GPU takes is refused when a program is compiled, with the kernel's name.
func TestGridsThatNoGPUTakes(t *testing.T) {
	t.Parallel()
	c := &kernels.DeviceCall{Queue: &binder{d: softDevice(t)}}
	for _, grid := range []kernels.Dim3{kernels.Grid(0), kernels.Grid(1, 65536), kernels.Grid(1, 1, 65536), kernels.Grid(1 << 31)} {
		err := c.Launch("loss_mean", grid, kernels.Block(1024), 0, kernels.Null, kernels.Null, kernels.Null, int32(1))
		require.ErrorContains(t, err, "kernel loss_mean: a grid of")
	}
	require.ErrorContains(t, c.Launch("loss_mean", kernels.Grid(1), kernels.Block(2048), 0, kernels.Null, kernels.Null, kernels.Null, int32(1)), "at most 1024 threads")
	require.NoError(t, c.Launch("loss_mean", kernels.Grid(1<<31-1, 65535), kernels.Block(1024), 0, kernels.Null, kernels.Null, kernels.Null, int32(1)))
}
