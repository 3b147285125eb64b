package view_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"ringo/collective/sim"
	"ringo/collective/view"
)

// TestMutants plants faults in the agreement. A check that never fails proves nothing: the simulator has to find each.
func TestMutants(t *testing.T) {
	t.Parallel()
	for name, plant := range view.Mutants {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const most = 30_000
			for seed := uint64(1); seed <= most; seed++ {
				if r := sim.Run(sim.Options{Seed: seed, Hosts: int(2 + seed%4), WorkersPerHost: 1, Faults: 8, Configure: plant}); r.Err != nil {
					t.Logf("found after %d schedules: %.160s", seed, r.Err)
					return
				}
			}
			require.Fail(t, "not found", "%d schedules passed", most)
		})
	}
}
