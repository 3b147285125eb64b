//go:build cuda

package cuda_test

import (
	"errors"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	_ "ringo/cuda"
	"ringo/kernels"
	"ringo/runtime/backend"
	"ringo/runtime/backend/backendtest"
	"ringo/runtime/graph"
	"ringo/runtime/plan"
	"ringo/runtime/tensor"
)

func open(t *testing.T, device string, o backend.Options) backend.Backend {
	t.Helper()
	b, err := backend.Open(device, o)
	require.NoError(t, err)
	return b
}

// tested is the device under test: the software device, or what RINGO_TEST_DEVICE names, such as cuda (scripts/gpu-check.sh).
func tested(t *testing.T) backend.Backend {
	t.Helper()
	device := "soft"
	if d := os.Getenv("RINGO_TEST_DEVICE"); d != "" {
		device = d
	}
	return open(t, device, backend.Options{})
}

// cpuOnly are the ops that the planner asks for only where a backend's Tune says so, which CUDA's does not; all others have a
// CUDA version.
var cpuOnly = map[string]string{
	"blocks":       "the order of weights that AMX reads; tensor cores read rows",
	"matmul_adamw": "a CPU moves a parameter while its gradient's tile is in cache; a GPU's products are the library's, whose tiles nobody else sees",
}

// suite runs every op at every sample.
func suite(t *testing.T, o backendtest.Options) {
	t.Helper()
	o.Skip = cpuOnly
	backendtest.Run(t, tested(t), open(t, "cpu", backend.Options{Reference: true}), o)
}

// What the planner may ask for is there.
func TestEveryOpHasAKernel(t *testing.T) {
	t.Parallel()
	for _, op := range graph.Ops() {
		if !op.Leaf && !op.Alias && cpuOnly[op.Name] == "" {
			require.Contains(t, kernels.DeviceOps(), op.Name)
		}
	}
	o := backend.Tuned(open(t, "soft", backend.Options{}), plan.Options{Precision: tensor.BF16})
	require.False(t, o.Blocks || o.FuseUpdate, "CUDA does not ask for the ops of CPUs")
}

func TestSuite(t *testing.T) {
	suite(t, backendtest.Options{Refused: func(op string, err error) bool {
		return op == "matmul" && errors.Is(err, kernels.ErrNoKernel) // of blocks, which are the CPU's
	}})
}

// With bf16 storage, ops without such kernels are those listed.
func TestSuiteBF16(t *testing.T) {
	refused := map[string]bool{}
	suite(t, backendtest.Options{Storage: tensor.BF16, Refused: func(op string, err error) bool {
		if !errors.Is(err, kernels.ErrNoKernel) {
			return false
		}
		refused[op] = true
		return true
	}})
	for op := range refused {
		t.Logf("no bf16 kernel: %s", op)
	}
}
