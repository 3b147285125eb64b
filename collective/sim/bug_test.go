package sim

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestBugs plants faults in the step protocol; the checks have to find each.
func TestBugs(t *testing.T) {
	t.Parallel()
	for name, b := range map[string]bug{
		"a worker goes on in the view that was replaced": bugKeepsOldView,
		"ranks disagree on who has which lanes":          bugWrongLanes,
		"states are compared by step alone":              bugIgnoresEpoch,
		"a joiner goes on with its own state":            bugNoHandOver,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const most = 30_000
			for seed := uint64(1); seed <= most; seed++ {
				if r := Run(Options{Seed: seed, Hosts: 2, WorkersPerHost: 1, Faults: 6, bug: b}); r.Err != nil {
					t.Logf("found after %d schedules: %.160s", seed, r.Err)
					return
				}
			}
			require.Fail(t, "not found", "%d schedules passed", most)
		})
	}
}
