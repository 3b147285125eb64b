package train

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"ringo/collective/control"
	"ringo/collective/ring"
	"ringo/collective/view"
	"ringo/train/checkpoint"
	"ringo/train/config"
	"ringo/train/metrics"
)

// office hands views to the workers of one process, as launchers do: whoever is killed or joins makes a new one.
type office struct {
	mu      sync.Mutex
	epoch   uint64
	links   map[string]*desk
	order   []string
	done    map[int][]Progress // by step
	rejoins int
	groups  []Group
	resume  map[string]string // by worker: the checkpoint that it goes on from
}

// desk is one worker's Link.
type desk struct {
	o       *office
	id      string
	host    string
	addr    string
	ready   bool
	view    view.View
	changed chan struct{}
	onView  func(uint64)
	stop    bool
	kill    context.CancelFunc
}

func newOffice() *office { return &office{links: map[string]*desk{}, done: map[int][]Progress{}} }

// publish makes the next view of all that are ready. mu is held.
func (o *office) publish(reason string) []func() {
	o.epoch++
	v := view.View{Epoch: o.epoch, Founder: "h", Hosts: []view.Host{{ID: "h"}}, Reason: reason}
	for _, id := range o.order {
		if d := o.links[id]; d != nil && d.ready {
			v.Workers = append(v.Workers, view.Worker{ID: id, Host: d.host, Addr: d.addr})
		}
	}
	var tell []func()
	for _, d := range o.links {
		d.view = v
		close(d.changed)
		d.changed = make(chan struct{})
		if fn := d.onView; fn != nil {
			tell = append(tell, func() { fn(v.Epoch) })
		}
	}
	return tell
}

func (o *office) do(fn func() []func()) {
	o.mu.Lock()
	tell := fn()
	o.mu.Unlock()
	for _, f := range tell {
		f()
	}
}

// remove takes a worker out as a launcher does that sees its death.
func (o *office) remove(id string) {
	o.do(func() []func() {
		if o.links[id] == nil {
			return nil
		}
		delete(o.links, id)
		return o.publish("worker " + id + " died")
	})
}

func (d *desk) ID() string { return d.id }
func (d *desk) Newest() uint64 {
	d.o.mu.Lock()
	defer d.o.mu.Unlock()
	return d.view.Epoch
}
func (d *desk) OnView(fn func(uint64))             { d.o.mu.Lock(); d.onView = fn; d.o.mu.Unlock() }
func (d *desk) Gate(context.Context, uint64) error { return nil }
func (d *desk) Stopping() bool                     { d.o.mu.Lock(); defer d.o.mu.Unlock(); return d.stop }
func (d *desk) StoppingAll() bool                  { return false }
func (d *desk) StopBy() time.Time                  { return time.Time{} }

func (d *desk) View(ctx context.Context, after uint64) (view.View, error) {
	for {
		d.o.mu.Lock()
		v, changed := d.view, d.changed
		d.o.mu.Unlock()
		if v.Epoch > after && v.Rank(d.id) >= 0 {
			return v, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return v, ctx.Err()
		}
	}
}

// Broken: the same members retry in a new view, unless a death made one already.
func (d *desk) Broken(epoch uint64, peer string, err error) error {
	d.o.do(func() []func() {
		if d.o.epoch > epoch || d.o.links[d.id] == nil {
			return nil
		}
		d.o.rejoins++
		return d.o.publish("broken by " + peer)
	})
	return nil
}

func (d *desk) Progress(p control.Progress) error {
	d.o.mu.Lock()
	defer d.o.mu.Unlock()
	d.o.done[p.Step] = append(d.o.done[p.Step], Progress{Epoch: p.Epoch, Step: p.Step, LaneLo: p.LaneLo, LaneHi: p.LaneHi})
	return nil
}

// seen is a Team that keeps the groups it joined.
type seen struct {
	*Member
	o *office
}

func (s seen) Join(ctx context.Context, after uint64) (view.View, Group, error) {
	v, g, err := s.Member.Join(ctx, after)
	if err == nil {
		s.o.mu.Lock()
		s.o.groups = append(s.o.groups, g)
		s.o.mu.Unlock()
	}
	return v, g, err
}

// outcome is how one worker ended.
type outcome struct {
	id     string
	result Result
	err    error
	final  *Trainer
}

// hire starts a worker of a job; started is called with its trainer.
func (o *office) hire(t *testing.T, id string, cfg *config.Config, out string, sink metrics.Sink, ends chan<- outcome) {
	t.Helper()
	l, err := ring.Listen("127.0.0.1:0", ring.ListenOptions{})
	require.NoError(t, err)
	ctx, kill := context.WithCancel(context.Background())
	d := &desk{o: o, id: id, host: "h", addr: l.Addr(), changed: make(chan struct{}), kill: kill}
	if cfg.Train.Wire != "exact" {
		d.host = "host of " + id // within a host nothing is coded
	}
	m, err := NewMember(d, l, "job", cfg.Train.Wire)
	require.NoError(t, err)
	opt := Options{Device: "cpu", Out: out, Team: seen{m, o}, Log: metrics.NewLog()}
	if sink != nil {
		opt.Log.Add(sink)
	}
	tr, err := New(cfg, opt)
	require.NoError(t, err)
	if from := o.resume[id]; from != "" {
		_, err := tr.Resume(from)
		require.NoError(t, err)
	}
	t.Cleanup(func() { kill(); _ = tr.Close(); _ = l.Close() })
	o.mu.Lock()
	o.links[id] = d
	o.order = append(o.order, id)
	d.view.Epoch = 0
	o.mu.Unlock()
	go func() {
		r, err := tr.Run(ctx)
		_ = l.Close()
		ends <- outcome{id, r, err, tr}
	}()
}

// open makes the first view of workers, or one with joiners.
func (o *office) open(ids ...string) {
	o.do(func() []func() {
		for _, id := range ids {
			o.links[id].ready = true
		}
		return o.publish(strings.Join(ids, ", ") + " joined")
	})
}

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

// at calls do when a worker emits the step event of a step.
type at struct {
	step int
	do   func()
}

func (a at) Event(e metrics.Event, _ []byte) error {
	if s, ok := e.(*metrics.Step); ok && s.Step == a.step {
		a.do()
	}
	return nil
}
func (at) Close() error { return nil }

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
