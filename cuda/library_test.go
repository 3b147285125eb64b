//go:build cuda

package cuda

import (
	"os"
	process "os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"ringo/cuda/soft"
)

// withLibrary runs a test of this binary in a process whose software device has a cuBLASLt.
func withLibrary(t *testing.T, run string, env ...string) {
	t.Helper()
	library, err := soft.Library()
	require.NoError(t, err)
	cmd := process.Command(os.Args[0], "-test.run="+run, "-test.v")
	cmd.Env = append(append(os.Environ(), env...), "RINGO_CUBLASLT="+filepath.Join(filepath.Dir(library), "libringo_softcublaslt.so"))
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	require.Contains(t, string(out), "--- PASS")
}

// Products by the library: the twin of cuBLASLt in cuda/soft/blas checks descriptors and computes what they say.
func TestProductsByTheLibrary(t *testing.T) {
	t.Parallel()
	withLibrary(t, "^Test(Products(Auxiliary|Refused|Failing)?|Noise)Child$")
}

// The suite with the library in place of our own products.
func TestSuiteWithTheLibrary(t *testing.T) {
	t.Parallel()
	withLibrary(t, "^TestSuite$/^ops$/^(matmul|linear)")
	withLibrary(t, "^TestShapes$/^matmul")
}

// The suite with a library that leaves what belongs to a product to kernels of ours, before and while it is timed.
func TestSuiteWithAPlainLibrary(t *testing.T) {
	t.Parallel()
	withLibrary(t, "^TestSuite(BF16)?$/^ops$/^(matmul|linear|muon)", "SOFTCUBLASLT_PLAIN=1")
	withLibrary(t, "^TestShapes$/^matmul", "SOFTCUBLASLT_PLAIN=1")
}

// Ten training steps by the library: its activations and their gradients are parts of products there.
func TestGoldenWithTheLibrary(t *testing.T) {
	t.Parallel()
	withLibrary(t, "^TestGolden$/_gpt$")
	withLibrary(t, "^TestClassifierInChunks$/bf16")
}
