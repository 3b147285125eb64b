package kernels

import (
	"os"
	osexec "os/exec"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestShareCores(t *testing.T) {
	t.Parallel()
	four := []int{2, 3, 6, 7}
	require.Equal(t, [][]int{{2, 3}, {6, 7}}, ShareCores(four, 2, 2))
	require.Equal(t, [][]int{{2}, {3}, {6}}, ShareCores(four, 3, 1))
	require.Nil(t, ShareCores(four, 5, 1), "more threads than processors")
	require.Nil(t, ShareCores(four, 2, 1), "a second such job would fit")
	require.Nil(t, ShareCores(nil, 1, 1))
}

// TestPinCores binds a process of its own: this one's threads belong to other tests.
func TestPinCores(t *testing.T) {
	cores := Cores()
	if len(cores) < 2 {
		t.Skip("one processor")
	}
	if os.Getenv("RINGO_PIN_TEST") == "" {
		cmd := osexec.Command(os.Args[0], "-test.run=^TestPinCores$")
		cmd.Env = append(os.Environ(), "RINGO_PIN_TEST=1")
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
		return
	}
	require.NoError(t, PinCores(cores[1:2]))
	seen := make(chan []int)
	for range 20 {
		go func() { seen <- Cores() }()
	}
	for range 20 {
		require.Equal(t, cores[1:2], <-seen)
	}
	require.ErrorContains(t, PinCores([]int{1000}), "keep to processors [1000]")
}
