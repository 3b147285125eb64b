package sim

import (
	"flag"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

var seed = flag.Uint64("sim.seed", 0, "replay the schedule of this seed and print its story")

// TestReplay tells the story of one seed: go test ./collective/sim -run TestReplay -sim.seed=N
func TestReplay(t *testing.T) {
	if *seed == 0 {
		t.Skip("no -sim.seed given")
	}
	o := options(*seed)
	o.Trace = os.Stdout
	r := Run(o)
	require.NoError(t, r.Err)
	t.Logf("%+v", r)
}

// options are those of a schedule of TestSchedules.
func options(seed uint64) Options {
	o := Options{Seed: seed}
	switch seed % 8 {
	case 0: // two hosts and a witness
		o.Hosts, o.Witness = 2, true
	case 1: // two hosts: the first breaks the tie
		o.Hosts = 2
	case 2:
		o.MinWorkers, o.MaxWorkers = 2, 3
	}
	return o
}

func TestSchedules(t *testing.T) {
	var events, views, steps, majority int
	for s := uint64(1); s <= 1000; s++ {
		r := Run(options(s))
		require.NoError(t, r.Err)
		events += int(r.Events)
		views += r.Views
		steps += r.Steps
		if r.Majority {
			majority++
		}
	}
	t.Logf("%d events %d views %d steps, majority %d", events, views, steps, majority)
}
