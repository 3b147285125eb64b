//go:build cuda

package cuda_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"ringo/internal/goldentest"
	"ringo/kernels"
	"ringo/models/golden"
	"ringo/runtime/backend"
	"ringo/runtime/plan"
	"ringo/runtime/tensor"
)

// goldenRuns are PyTorch's ten steps of small models, by precision. Errors are measured by the loss that a run began
// with; where activations are bf16, PyTorch's own autocast is off by up to 2.2e-2 on the residual net.
var goldenRuns = []struct {
	name, model string
	opt         plan.Options
	tol         float64
}{
	{"fp32 gpt", "gpt", plan.Options{}, 1e-4},
	{"fp32 llama", "llama", plan.Options{}, 1e-4},
	{"fp32 convnet", "convnet", plan.Options{}, 1e-4},
	{"fp32 resnet", "resnet20", plan.Options{}, 1e-4},
	{"bf16 gpt", "gpt", plan.Options{Precision: tensor.BF16, Storage: tensor.BF16}, 2e-2},
	{"bf16 gpt, stochastic", "gpt", plan.Options{Precision: tensor.BF16, Storage: tensor.BF16, Rounding: plan.RoundStochastic}, 2e-2},
	{"bf16 llama", "llama", plan.Options{Precision: tensor.BF16, Storage: tensor.BF16}, 2e-2},
	{"bf16 resnet", "resnet20", plan.Options{Precision: tensor.BF16, Storage: tensor.BF16}, 4.4e-2},
}

// TestGolden trains ten steps: as PyTorch does, as the CPU does, and twice to the same bits.
func TestGolden(t *testing.T) {
	device, cpu := tested(t), open(t, "cpu", backend.Options{})
	for _, run := range goldenRuns {
		t.Run(run.name, func(t *testing.T) {
			c, err := golden.Load("../models/testdata/" + run.model + ".json")
			require.NoError(t, err)
			got, weights := trainGolden(t, device, c, run.opt, 1)
			onCPU, _ := trainGolden(t, cpu, c, run.opt, 1)
			for step, want := range c.LossesF32 {
				require.InDelta(t, want, got[step], run.tol*c.LossesF32[0], "loss of step %d, PyTorch", step)
				require.InDelta(t, onCPU[step], got[step], run.tol*c.LossesF32[0], "loss of step %d, CPU", step)
			}
			if !testing.Short() && run.model == "gpt" {
				again, same := trainGolden(t, device, c, run.opt, 1)
				require.Equal(t, got, again)
				require.Equal(t, weights, same, "the same run twice gives the same bits")
			}
		})
	}
}

// Lanes: sums of gradients in the order of a tree, in the device's memory.
func TestGoldenOverLanes(t *testing.T) {
	c, err := golden.Load("../models/testdata/gpt.json")
	require.NoError(t, err)
	got, _ := trainGolden(t, tested(t), c, plan.Options{}, 4)
	onCPU, _ := trainGolden(t, open(t, "cpu", backend.Options{}), c, plan.Options{}, 4)
	for step := range got {
		require.InDelta(t, onCPU[step], got[step], 1e-4*onCPU[0], "loss of step %d", step)
	}
}

// trainGolden trains where the device has all kernels, and skips the test where it lacks one.
func trainGolden(t *testing.T, b backend.Backend, c *golden.Case, opt plan.Options, lanes int) (losses []float64, weights []byte) {
	t.Helper()
	losses, weights, err := goldentest.Train(b, c, opt, lanes)
	if errors.Is(err, kernels.ErrNoKernel) {
		t.Skip(err)
	}
	require.NoError(t, err)
	return losses, weights
}
