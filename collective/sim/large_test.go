package sim

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestThousandWorkers runs 125 launchers with eight workers each through a few faults.
func TestThousandWorkers(t *testing.T) {
	t.Parallel()
	r := Run(Options{Seed: 1000, Hosts: 125, WorkersPerHost: 8, Lanes: 1024, Faults: 5})
	require.NoError(t, r.Err)
	require.True(t, r.Majority)
	t.Logf("%+v", r)
}
