//go:build cuda

package cuda_test

import (
	"errors"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"ringo/kernels"
	"ringo/models"
	"ringo/models/golden"
	"ringo/runtime"
	"ringo/runtime/backend"
	"ringo/runtime/graph"
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

// trainGolden returns the losses of ten steps, each lane training on the whole batch, and the weights' bytes.
func trainGolden(t *testing.T, b backend.Backend, c *golden.Case, opt plan.Options, lanes int) (losses []float64, weights []byte) {
	t.Helper()
	m, err := models.New(c.Model)
	require.NoError(t, err)
	opt.Training = &plan.Training{Lanes: lanes, Rule: func(p graph.Leaf) plan.Update { return goldenRule(c.Optim, p) }}
	store := b.NewStore()
	defer store.Close()
	var g *graph.Graph
	e, err := runtime.Compile(b, store, func(gr *graph.Graph) {
		g = gr
		require.NoError(t, m.Loss(g, c.Batch, true))
	}, opt)
	if errors.Is(err, kernels.ErrNoKernel) {
		t.Skip(err)
	}
	require.NoError(t, err)
	defer e.Close()
	initial, err := c.Weights(m, g)
	require.NoError(t, err)
	for name, w := range initial {
		require.NoError(t, store.Write(name, w.Bytes()), name)
	}
	s, err := runtime.NewStep(e)
	require.NoError(t, err)
	for step := range c.LossesF32 {
		correction := func(beta float64) float64 { return 1 - math.Pow(beta, float64(step+1)) }
		require.NoError(t, s.Begin(c.Optim.LR, correction(c.Optim.Betas[0]), correction(c.Optim.Betas[1])))
		require.NoError(t, s.Lanes(0, lanes, func(int) error {
			for name, x := range c.Inputs(step) {
				if err := e.Feed(name, x.Bytes()); err != nil {
					return err
				}
			}
			return nil
		}, nil))
		require.NoError(t, s.Update())
		loss, err := s.Mean(models.Loss)
		require.NoError(t, err)
		losses = append(losses, float64(loss))
	}
	for _, tr := range e.Program().Tensors {
		raw := make([]byte, tr.Type.Bytes())
		require.NoError(t, store.Read(tr.Name, raw))
		weights = append(weights, raw...)
	}
	return losses, weights
}

func goldenRule(o golden.Optim, p graph.Leaf) plan.Update {
	decay := o.WeightDecay
	if p.NoDecay {
		decay = 0
	}
	if o.Name == "sgd" {
		return plan.Update{Op: "sgd", Slots: []string{"momentum"}, Attrs: graph.SGD{Momentum: o.Momentum, Nesterov: o.Nesterov, WeightDecay: decay}}
	}
	return plan.Update{Op: "adamw", Slots: []string{"m", "v"}, Attrs: graph.AdamW{Beta1: o.Betas[0], Beta2: o.Betas[1], Eps: o.Eps, WeightDecay: decay}}
}
