//go:build cuda

package cuda

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"ringo/cuda/blas"
)

// What one process finds, the next one knows; a damaged file only costs time.
func TestWhatWasFoundIsKept(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "gemm.json")
	first := kept{file: file, entries: map[string]string{"a": "01"}}
	unlock := first.lock()
	first.entries["b"] = "02"
	first.save()
	unlock()
	second := kept{file: file, entries: map[string]string{}}
	second.lock()()
	require.Equal(t, first.entries, second.entries)

	raw, err := os.ReadFile(file)
	require.NoError(t, err)
	for _, damaged := range []string{"", "{", `{"a": 1}`, string(raw[:len(raw)/2])} {
		require.NoError(t, os.WriteFile(file, []byte(damaged), 0o600))
		third := kept{file: file, entries: map[string]string{}}
		third.lock()()
		require.Empty(t, third.entries, damaged)
	}
	nowhere := kept{entries: map[string]string{}} // the software device keeps no file
	nowhere.lock()()
	nowhere.save()
}

// An algorithm comes back from the file as it was; what is none of its length is not one.
func TestAlgorithmsAreText(t *testing.T) {
	t.Parallel()
	p := products{kept: kept{entries: map[string]string{"b": "00", "c": "zz"}}}
	p.keep("a", blas.Algorithm{1, 2, 3})
	a, ok := p.fastest("a")
	require.True(t, ok)
	require.Equal(t, blas.Algorithm{1, 2, 3}, a)
	for _, key := range []string{"b", "c", "d"} {
		_, ok := p.fastest(key)
		require.False(t, ok, key)
	}
}
