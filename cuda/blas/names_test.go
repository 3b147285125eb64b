//go:build cuda

package blas

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// The library of CUDA 13 is not asked for on a driver of CUDA 12.
func TestNames(t *testing.T) {
	t.Setenv(EnvLibrary, "")
	require.Equal(t, "libcublasLt.so.13", names(13000)[0])
	require.Equal(t, "libcublasLt.so.13", names(-1)[0], "no driver")
	require.Equal(t, "libcublasLt.so.12", names(12080)[0])
	t.Setenv(EnvLibrary, "/a/libcublasLt.so.12")
	require.Equal(t, []string{"/a/libcublasLt.so.12"}, names(13000))
}
