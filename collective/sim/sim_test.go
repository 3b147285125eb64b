package sim

import (
	"flag"
	"fmt"
	"os"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

var (
	replay    = flag.Uint64("sim.seed", 0, "replay the schedule of this seed and print its story")
	schedules = flag.Uint64("sim.schedules", 10_000, "number of schedules")
	first     = flag.Uint64("sim.first", 1, "seed of the first one")
)

// TestReplay tells the story of one seed: go test ./collective/sim -run TestReplay -v -sim.seed=N
func TestReplay(t *testing.T) {
	t.Parallel()
	if *replay == 0 {
		t.Skip("no -sim.seed given")
	}
	o := options(*replay)
	o.Trace = os.Stdout
	r := Run(o)
	t.Logf("%+v", r)
	require.NoError(t, r.Err)
}

// options are those of a schedule of TestSchedules.
func options(seed uint64) Options {
	o := Options{Seed: seed}
	switch seed % 8 {
	case 0: // two hosts and a witness
		o.Hosts, o.Witness = 2, true
	case 1: // two hosts: the first breaks the tie
		o.Hosts = 2
	case 2: // spare workers wait, too few do nothing
		o.MinWorkers, o.MaxWorkers = 2, 3
	case 3: // more of everything
		o.Hosts, o.Faults = 6, 10
	}
	return o
}

// TestSchedules plays thousands of schedules; none may break a promise, and in nine of ten a majority stays, so that
// the job also has to finish.
func TestSchedules(t *testing.T) {
	t.Parallel()
	const chunks = 8
	var events, views, steps, majority atomic.Uint64
	t.Run("seeds", func(t *testing.T) {
		for c := range uint64(chunks) {
			t.Run(fmt.Sprint(c), func(t *testing.T) {
				t.Parallel()
				for s := *first + c; s < *first+*schedules; s += chunks {
					r := Run(options(s))
					require.NoError(t, r.Err, "tell its story: go test ./collective/sim -run TestReplay -v -sim.seed=%d", s)
					events.Add(r.Events)
					views.Add(uint64(r.Views))
					steps.Add(uint64(r.Steps))
					if r.Majority {
						majority.Add(1)
					}
				}
			})
		}
	})
	t.Logf("measured: %d schedules: %d events, %d views, %d steps; in %d a majority stayed and the job finished",
		*schedules, events.Load(), views.Load(), steps.Load(), majority.Load())
	require.Greater(t, majority.Load(), *schedules*9/10)
}
