package train

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"ringo/collective/view"
	"ringo/train/checkpoint"
	"ringo/train/config"
	"ringo/train/metrics"
)

// TestSpareWorkers: in the fast reduction too, workers without lanes add nothing to the sums.
func TestSpareWorkers(t *testing.T) {
	t.Parallel()
	score := func(n int) float64 {
		cfg := mlpConfig(t, "train.lanes=4", "train.reduce=ring")
		o, ends := newOffice(), make(chan outcome, n)
		var ids []string
		for i := range n {
			ids = append(ids, fmt.Sprint("w", i))
			o.hire(t, ids[i], cfg, "", nil, ends)
		}
		o.open(ids...)
		var loss float64
		for range n {
			e := <-ends
			require.NoError(t, e.err)
			loss = e.result.Score.Loss
		}
		return loss
	}
	require.InEpsilon(t, score(1), score(6), 1e-5)
}

// job trains cfg with n workers to the end and returns the hash that all agree on.
func job(t *testing.T, cfg *config.Config, n int) string {
	t.Helper()
	o, ends, out := newOffice(), make(chan outcome, n), t.TempDir()
	var ids []string
	for i := range n {
		ids = append(ids, fmt.Sprint("w", i))
		o.hire(t, ids[i], cfg, out, nil, ends)
	}
	o.open(ids...)
	sha := ""
	for range n {
		e := <-ends
		require.NoError(t, e.err, e.id)
		if sha == "" {
			sha = e.result.ModelSHA256
		}
		require.Equal(t, sha, e.result.ModelSHA256)
	}
	covered(t, o, cfg, 1)
	require.Len(t, sha, 64)
	for _, g := range o.groups { // workers of one host sum where the gradients lie
		inPlace := runtime.GOOS == "linux" && n > 1 && cfg.Train.Wire == "exact"
		require.Equal(t, inPlace, g.Stats().InPlace >= uint64(cfg.Train.Steps), "%d workers: %+v", n, g.Stats())
	}
	return sha
}

// covered: in the view that finished a step, no lane was computed twice, and each at least `least` times. A worker that
// gave its lanes to a sum but vanished before it had the result says nothing of the step, so after deaths least is 0.
func covered(t *testing.T, o *office, cfg *config.Config, least int) {
	t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	for step := 1; step <= cfg.Train.Steps; step++ {
		last := uint64(0)
		for _, p := range o.done[step] {
			last = max(last, p.Epoch)
		}
		lanes := make([]int, cfg.Train.Lanes)
		for _, p := range o.done[step] {
			for l := p.LaneLo; p.Epoch == last && l < p.LaneHi; l++ {
				lanes[l]++
			}
		}
		for l, n := range lanes {
			require.LessOrEqual(t, n, 1, "step %d, lane %d", step, l)
			require.GreaterOrEqual(t, n, least, "step %d, lane %d", step, l)
		}
	}
}

// TestAnyWorldSameBits: with train.reduce reproducible a run gives the same model at any number of workers, more than
// lanes included, and the same as one process alone.
func TestAnyWorldSameBits(t *testing.T) {
	t.Parallel()
	cfg := mlpConfig(t, "train.lanes=8", "train.reduce=reproducible", "train.eval_every=5", "train.ema=0.9", "optim.clip=0.5")
	alone := newTrainer(t, cfg, Options{Out: t.TempDir()})
	r, err := alone.Run(context.Background())
	require.NoError(t, err)
	for _, n := range []int{1, 2, 3, 4, 7, 9} {
		require.Equal(t, r.ModelSHA256, job(t, cfg, n), "%d workers", n)
	}
}

// TestRingRepeats: the fast reduction gives the same bits run to run at one number of workers, and the same losses as the
// reproducible one up to rounding.
func TestRingRepeats(t *testing.T) {
	t.Parallel()
	cfg := gptConfig(t, "train.lanes=8", "train.reduce=ring")
	require.Equal(t, job(t, cfg, 3), job(t, cfg, 3))
	exact := job(t, gptConfig(t, "train.lanes=8"), 2)
	for _, wire := range []string{"bf16", "int8"} {
		c := gptConfig(t, "train.lanes=8", "train.wire="+wire)
		sha := job(t, c, 2)
		require.Equal(t, sha, job(t, c, 2))
		require.NotEqual(t, exact, sha, "gradients are coded")
	}
}

// TestDeathsAndJoins: workers vanish in the middle of a run, all but one in turn, and others join; the model has the same
// bits as undisturbed.
func TestDeathsAndJoins(t *testing.T) {
	t.Parallel()
	cfg := mlpConfig(t, "train.lanes=8", "train.steps=40", "train.log_every=1", "train.reduce=reproducible", "train.eval_every=6", "train.save_every=7")
	want := job(t, cfg, 1)
	o, ends, out := newOffice(), make(chan outcome, 8), t.TempDir()
	gone := map[string]bool{}
	kill := func(id string) func() {
		return func() {
			o.mu.Lock()
			d := o.links[id]
			o.mu.Unlock()
			if d == nil {
				return
			}
			d.kill()
			o.remove(id)
		}
	}
	// w3 outlives the others; each is taken out by an event of its own or of w3's.
	events := []at{{5, kill("w0")}, {9, kill("w2")}, {14, kill("w1")}, {20, func() { o.open("w4", "w5") }}, {27, kill("w4")}}
	for _, id := range []string{"w0", "w1", "w2", "w4", "w5"} {
		gone[id] = id != "w5"
		o.hire(t, id, cfg, out, nil, ends)
	}
	o.hire(t, "w3", cfg, out, sinks(events), ends)
	o.open("w0", "w1", "w2", "w3")
	for range 6 {
		select {
		case e := <-ends:
			if gone[e.id] {
				require.Error(t, e.err, e.id)
				continue
			}
			require.NoError(t, e.err, e.id)
			require.Equal(t, want, e.result.ModelSHA256, e.id)
		case <-time.After(time.Minute):
			t.Fatal("the job hangs")
		}
	}
	covered(t, o, cfg, 0)
	_, err := checkpoint.Open(out + "/checkpoints")
	require.NoError(t, err)
}

// sinks is several sinks as one.
type sinks []at

func (s sinks) Event(e metrics.Event, line []byte) error {
	var err error
	for _, a := range s {
		err = errors.Join(err, a.Event(e, line))
	}
	return err
}
func (sinks) Close() error { return nil }

// TestLeave: a worker that is asked to leave goes at a step's end and the others finish; when all are asked, the job stops
// with a checkpoint from which another number of workers ends with the same bits.
func TestLeave(t *testing.T) {
	t.Parallel()
	cfg := gptConfig(t, "train.lanes=8", "train.steps=30", "train.log_every=1", "train.reduce=reproducible")
	want := job(t, cfg, 2)
	o, ends, out := newOffice(), make(chan outcome, 3), t.TempDir()
	ask := func(ids ...string) func() {
		return func() {
			o.mu.Lock()
			defer o.mu.Unlock()
			for _, id := range ids {
				o.links[id].stop = true
			}
		}
	}
	for _, id := range []string{"w1", "w2"} {
		o.hire(t, id, cfg, out, nil, ends)
	}
	o.hire(t, "w0", cfg, out, sinks{{4, ask("w1")}, {15, ask("w0", "w2")}}, ends)
	o.open("w0", "w1", "w2")
	e := <-ends
	require.NoError(t, e.err)
	require.Equal(t, "w1", e.id)
	require.True(t, e.result.Left)
	require.Less(t, e.result.Step, 10)
	o.remove("w1")
	for range 2 {
		e := <-ends
		require.NoError(t, e.err)
		require.True(t, e.result.Interrupted, "%+v", e.result)
		require.Less(t, e.result.Step, 20)
	}
	alone := newTrainer(t, cfg, Options{Out: out})
	_, err := alone.Resume(out)
	require.NoError(t, err)
	r, err := alone.Run(context.Background())
	require.NoError(t, err)
	require.Equal(t, want, r.ModelSHA256)
}

// TestStrangers: a worker with another configuration is sent away by itself, with a reason.
func TestStrangers(t *testing.T) {
	t.Parallel()
	o, ends := newOffice(), make(chan outcome, 2)
	o.hire(t, "a", mlpConfig(t, "train.steps=500", "train.reduce=reproducible"), "", nil, ends)
	o.hire(t, "b", mlpConfig(t, "train.steps=500", "train.reduce=reproducible", "optim.lr=0.5"), "", nil, ends)
	o.open("a", "b")
	e := <-ends
	require.Equal(t, "b", e.id)
	require.ErrorContains(t, e.err, "configuration, data or device differs")
	o.remove("b")
	e = <-ends
	require.NoError(t, e.err)
}

func TestShares(t *testing.T) {
	t.Parallel()
	named := func(speeds ...float64) (out []view.Worker) {
		for _, s := range speeds {
			out = append(out, view.Worker{Speed: s})
		}
		return out
	}
	require.Equal(t, []int{0, 4, 8}, shares(named(1, 1), 8, "even"))
	require.Equal(t, []int{0, 2, 4, 6, 8, 10, 13, 16}, shares(named(0, 0, 0, 0, 0, 0, 0), 16, "even"))
	require.Equal(t, []int{0, 3, 4}, shares(named(3, 1), 4, "speed"))
	require.Equal(t, []int{0, 2, 4}, shares(named(3, 0), 4, "speed"), "until all are measured, even")
	for lanes := 1; lanes <= 64; lanes *= 2 {
		for n := 1; n < 20; n++ {
			b := shares(make([]view.Worker, n), lanes, "even")
			require.Equal(t, lanes, b[n])
			for r := range n {
				require.Contains(t, []int{lanes / n, (lanes + n - 1) / n}, b[r+1]-b[r])
			}
		}
	}
}

// TestSharedStepAllocatesNothing: after its first steps a job of two workers leaves nothing to the garbage collector.
func TestSharedStepAllocatesNothing(t *testing.T) {
	for _, reduce := range []string{"ring", "reproducible"} {
		cfg := mlpConfig(t, "train.lanes=4", "train.steps=400", "train.log_every=100", "train.reduce="+reduce)
		o, ends := newOffice(), make(chan outcome, 2)
		var from, to runtime.MemStats
		count := sinks{{200, func() { runtime.ReadMemStats(&from) }}, {300, func() { runtime.ReadMemStats(&to) }}}
		o.hire(t, "a", cfg, "", count, ends)
		o.hire(t, "b", cfg, "", nil, ends)
		o.open("a", "b")
		for range 2 {
			require.NoError(t, (<-ends).err)
		}
		// 100 steps of 2 workers; the office's own bookkeeping of progress and the two step events take some.
		require.Less(t, to.Mallocs-from.Mallocs, uint64(300), reduce)
	}
}

// TestFlagsTravelExactly: with gradients coded to int8 on the wire, losses keep their digits and the wish to leave arrives.
func TestFlagsTravelExactly(t *testing.T) {
	t.Parallel()
	cfg := gptConfig(t, "train.lanes=4", "train.steps=200", "train.wire=int8")
	o, ends, out := newOffice(), make(chan outcome, 2), t.TempDir()
	o.hire(t, "a", cfg, out, nil, ends)
	o.hire(t, "b", cfg, out, nil, ends)
	o.mu.Lock()
	o.links["a"].stop, o.links["b"].stop = true, true
	o.mu.Unlock()
	o.open("a", "b")
	for range 2 {
		e := <-ends
		require.NoError(t, e.err)
		require.True(t, e.result.Interrupted)
		require.LessOrEqual(t, e.result.Step, 2)
	}
}
