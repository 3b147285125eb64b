//go:build cuda

package cuda

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"ringo/cuda/blas"
)

// What one process times, the next one finds; a damaged file or entry only costs time.
func TestAlgorithmsAreKept(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "gemm.json")
	first := products{file: file, fastest: map[string]blas.Algorithm{"a": {1, 2, 3}}}
	unlock := first.lock()
	first.fastest["b"] = blas.Algorithm{4}
	first.save()
	unlock()
	second := products{file: file, fastest: map[string]blas.Algorithm{}}
	second.lock()()
	require.Equal(t, first.fastest, second.fastest)

	raw, err := os.ReadFile(file)
	require.NoError(t, err)
	for _, damaged := range []string{"", "{", `{"a": "zz", "b": "00"}`, string(raw[:len(raw)/2])} {
		require.NoError(t, os.WriteFile(file, []byte(damaged), 0o600))
		third := products{file: file, fastest: map[string]blas.Algorithm{}}
		third.lock()()
		require.Empty(t, third.fastest, damaged)
	}
	nowhere := products{fastest: map[string]blas.Algorithm{}} // the software device keeps no file
	nowhere.lock()()
	nowhere.save()
}
