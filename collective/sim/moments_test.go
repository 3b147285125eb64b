package sim

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestEveryMoment kills each of three workers, and crashes each of three hosts, at every millisecond of a stretch of
// several steps; and cuts each host off for a moment from there.
func TestEveryMoment(t *testing.T) {
	t.Parallel()
	faults := map[string]func(*world, int){
		"kill":  func(w *world, i int) { w.workers[i].kill() },
		"crash": func(w *world, i int) { w.stop(w.hosts[i]) },
		"cut": func(w *world, i int) {
			w.net.side[w.hosts[i].self.ID] = 1
			w.after(w.upTo(4*time.Second), func() { w.net.side = map[string]int{} })
		},
	}
	for name, hit := range faults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for who := range 3 {
				for ms := range 250 {
					r := Run(Options{Seed: 5, Hosts: 3, WorkersPerHost: 1, script: func(w *world) time.Duration {
						at := time.Second + time.Duration(ms)*time.Millisecond
						w.after(at, func() { hit(w, who) })
						return at + 5*time.Second
					}})
					require.NoError(t, r.Err, "%s %d after 1 s and %d ms", name, who, ms)
					require.True(t, r.Majority)
				}
			}
		})
	}
}
