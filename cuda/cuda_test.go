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

// missing names the ops that have no CUDA version yet.
func missing() map[string]string {
	out := map[string]string{}
	for _, op := range graph.Ops() {
		out[op.Name] = "no CUDA version yet"
	}
	for _, op := range kernels.DeviceOps() {
		delete(out, op)
	}
	return out
}

// suite runs every op at every sample.
func suite(t *testing.T, o backendtest.Options) {
	t.Helper()
	if missing()["mul"] != "" {
		t.Skip("the suite's own programs multiply, and mul has no CUDA version yet")
	}
	o.Skip = missing()
	backendtest.Run(t, tested(t), open(t, "cpu", backend.Options{Reference: true}), o)
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
