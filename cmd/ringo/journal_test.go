package main

import (
	"bufio"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// stretch is a line of a journal of either kind.
type stretch struct {
	View    uint64
	Workers []string
	Worker  string
	Lanes   [2]int
	First   int
	Last    int
}

// journal reads what all hosts of a run wrote.
func journal(t *testing.T, dirs ...string) (views map[uint64][]string, done []stretch) {
	t.Helper()
	views = map[uint64][]string{}
	for _, dir := range dirs {
		files, err := filepath.Glob(filepath.Join(dir, "workers-*.jsonl"))
		require.NoError(t, err)
		for _, name := range files {
			f, err := os.Open(name)
			require.NoError(t, err)
			defer f.Close()
			for in := bufio.NewScanner(f); in.Scan(); {
				var s stretch
				require.NoError(t, json.Unmarshal(in.Bytes(), &s), in.Text())
				if s.Worker != "" {
					done = append(done, s)
					continue
				}
				if other, ok := views[s.View]; ok {
					require.Equal(t, other, s.Workers, "two views %d", s.View)
				}
				views[s.View] = s.Workers
			}
		}
	}
	return views, done
}

// usedOnce checks that every step was completed with every lane of it computed once, and returns how many steps were
// completed in two views: all that completed such a step in the older one must have ended before anyone learned of it.
func usedOnce(t *testing.T, steps, lanes int, dirs ...string) (again int) {
	t.Helper()
	views, done := journal(t, dirs...)
	by := make([]map[uint64][]stretch, steps+1) // step -> view -> who completed it there
	for _, s := range done {
		for i := s.First; i <= s.Last; i++ {
			if i < 1 || i > steps {
				require.Fail(t, "no such step", "step %d of %d", i, steps)
			}
			if by[i] == nil {
				by[i] = map[uint64][]stretch{}
			}
			by[i][s.View] = append(by[i][s.View], s)
		}
	}
	for i := 1; i <= steps; i++ {
		if len(by[i]) == 0 {
			require.Fail(t, "nobody completed a step", "step %d", i)
		}
		var epochs []uint64
		for e, who := range by[i] {
			epochs = append(epochs, e)
			onceEach(t, lanes, i, views[e], who)
		}
		slices.Sort(epochs)
		again += len(epochs) - 1
		for k, e := range epochs[1:] {
			for _, s := range by[i][epochs[k]] {
				require.NotContains(t, views[e], s.Worker, "step %d counts in view %d and was done again in view %d", i, epochs[k], e)
			}
		}
	}
	return again
}

// onceEach checks one step in one view: blocks of lanes follow each other in ring order without overlap and without gaps but
// for those of workers that ended before they could report.
func onceEach(t *testing.T, lanes, step int, ring []string, who []stretch) {
	t.Helper()
	blocks := map[string][2]int{}
	for _, s := range who {
		if _, twice := blocks[s.Worker]; twice || !slices.Contains(ring, s.Worker) {
			require.Fail(t, "completed twice, or by a stranger", "step %d in view %d by %s of %v", step, s.View, s.Worker, ring)
		}
		blocks[s.Worker] = s.Lanes
	}
	at, gap := 0, false
	for _, id := range ring {
		b, ok := blocks[id]
		if !ok {
			gap = true
			continue
		}
		if b[0] != at && !(gap && b[0] > at) {
			require.Fail(t, "lanes overlap, or are missing", "step %d: lanes %d to %d of %s follow lane %d", step, b[0], b[1], id, at)
		}
		at, gap = b[1], false
	}
	if at != lanes && !(gap && at < lanes) {
		require.Fail(t, "lanes are missing", "step %d: lanes end at %d of %d", step, at, lanes)
	}
}
