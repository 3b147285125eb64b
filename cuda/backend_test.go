//go:build cuda

package cuda_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"ringo/runtime/backend"
)

// What a device cannot be is said in one sentence; the process goes on.
func TestDevicesThatAreNotThere(t *testing.T) {
	b, err := backend.Open("soft:7", backend.Options{})
	require.EqualError(t, err, "device soft: device 7 does not exist: this machine has 1, numbered from 0")
	require.Nil(t, b)
	_, err = backend.Open("soft:x", backend.Options{})
	require.EqualError(t, err, "device soft:x: write the device's number, such as soft:0")
	// The software device is this process's driver now.
	b, err = backend.Open("cuda", backend.Options{})
	require.ErrorContains(t, err, "use one of them per process")
	require.Nil(t, b)
	b, err = backend.Open("auto", backend.Options{})
	require.NoError(t, err)
	require.Equal(t, "cpu", b.Name())
	require.Contains(t, b.Describe(), "no GPU is used: device cuda: this process already uses the CUDA driver")
}

// A backend that was closed leaves the device to the next.
func TestCloseAndOpenAgain(t *testing.T) {
	for range 3 {
		b, err := backend.Open("soft", backend.Options{})
		require.NoError(t, err)
		require.NoError(t, b.Close())
	}
}
