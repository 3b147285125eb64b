//go:build cuda

package cuda_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	_ "ringo/cuda"
	"ringo/kernels"
	"ringo/runtime/backend"
	"ringo/runtime/backend/backendtest"
	"ringo/runtime/graph"
)

func open(t *testing.T, device string, o backend.Options) backend.Backend {
	t.Helper()
	b, err := backend.Open(device, o)
	require.NoError(t, err)
	return b
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

// TestSuite runs every op on the software device at every sample.
func TestSuite(t *testing.T) {
	if missing()["mul"] != "" {
		t.Skip("the suite's own programs multiply, and mul has no CUDA version yet")
	}
	backendtest.Run(t, open(t, "soft", backend.Options{}), open(t, "cpu", backend.Options{Reference: true}), backendtest.Options{Skip: missing()})
}
