package train

import (
	"context"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"ringo/internal/files"
	"ringo/train/checkpoint"
	"ringo/train/metrics"
)

// slowDisk makes no files until it is let.
type slowDisk struct {
	files.OS
	let chan struct{}
}

func (d slowDisk) Create(path string) (files.File, error) {
	<-d.let
	return d.OS.Create(path)
}

// opener lets the disk go on at a step, and keeps the order of events.
type opener struct {
	let   chan struct{}
	at    int
	order []metrics.Event
}

func (o *opener) Event(e metrics.Event, _ []byte) error {
	switch e := e.(type) {
	case *metrics.Step:
		step := *e
		o.order = append(o.order, &step)
		if step.Step == o.at {
			close(o.let)
		}
	case *metrics.Checkpoint:
		o.order = append(o.order, e)
	}
	return nil
}
func (o *opener) Close() error { return nil }

// While a checkpoint goes to a slow disk the next steps are taken; it holds what was there between the steps, to the bit; the
// event comes when it is complete, and one after the other.
func TestStepsGoOnWhileACheckpointIsWritten(t *testing.T) {
	t.Parallel()
	want := map[int]checkpoint.Manifest{}
	for _, step := range []int{5, 10} {
		tr := newTrainer(t, mlpConfig(t, "train.save_every=5"), Options{Out: t.TempDir()})
		hash(t, tr, step)
		c, err := checkpoint.Open(tr.o.Out)
		require.NoError(t, err)
		want[step] = c.Manifest
	}
	let := make(chan struct{})
	seen := &opener{let: let, at: 8}
	out := t.TempDir()
	tr := newTrainer(t, mlpConfig(t, "train.save_every=5", "train.log_every=1", "train.keep=0"), Options{Out: out, FS: slowDisk{let: let}, Log: metrics.NewLog(seen)})
	_, err := tr.Run(context.Background())
	require.NoError(t, err)
	var saved []int
	steps := map[int]int{} // when a checkpoint's event came: the step of the last one before it
	last := 0
	for _, e := range seen.order {
		switch e := e.(type) {
		case *metrics.Step:
			last = e.Step
		case *metrics.Checkpoint:
			saved = append(saved, e.Step)
			steps[e.Step] = last
		}
	}
	require.Equal(t, []int{5, 10, 15}, saved)
	require.GreaterOrEqual(t, steps[5], 8, "no event before the disk took it")
	for step, m := range want {
		c, err := checkpoint.Open(filepath.Join(out, "checkpoints", "step-"+strconv.Itoa(step)))
		require.NoError(t, err)
		require.Equal(t, m.Files[modelFile], c.Files[modelFile], "step %d", step)
		require.Equal(t, m.Files[optimizerFile], c.Files[optimizerFile], "step %d", step)
	}
	c, err := checkpoint.Open(out)
	require.NoError(t, err)
	require.Equal(t, 15, c.Step)
}

// full fails at step 7, as metrics on a full disk do.
type full struct{}

func (full) Event(e metrics.Event, _ []byte) error {
	if s, ok := e.(*metrics.Step); ok && s.Step == 7 {
		return errFull
	}
	return nil
}
func (full) Close() error { return nil }

// A run that ends with an error waits for the checkpoint on its way.
func TestAFailingRunCompletesTheCheckpointOnItsWay(t *testing.T) {
	t.Parallel()
	out, let := t.TempDir(), make(chan struct{})
	log := metrics.NewLog(&opener{let: let, at: 6}, full{})
	tr := newTrainer(t, mlpConfig(t, "train.save_every=5", "train.log_every=1"), Options{Out: out, FS: slowDisk{let: let}, Log: log})
	_, err := tr.Run(context.Background())
	require.ErrorIs(t, err, errFull)
	c, err := checkpoint.Open(out)
	require.NoError(t, err)
	require.Equal(t, 5, c.Step)
}
