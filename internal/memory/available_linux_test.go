package memory

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAvailable(t *testing.T) {
	t.Parallel()
	n, ok := Available()
	require.True(t, ok)
	require.Greater(t, n, int64(1<<20))
	require.Less(t, n, int64(1)<<50)
	n, ok = memAvailable("MemTotal:       24 kB\nMemAvailable:   17 kB\n")
	require.True(t, ok)
	require.EqualValues(t, 17<<10, n)
	_, ok = memAvailable("MemAvailable:   much kB\n")
	require.False(t, ok)
}
