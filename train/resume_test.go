package train

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"ringo/train/checkpoint"
	"ringo/train/config"
	"ringo/train/metrics"
)

// halfway trains the first half of a run of 20 steps and returns the run's folder.
func halfway(t *testing.T, cfg *config.Config) string {
	t.Helper()
	out := t.TempDir()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	log := metrics.NewLog()
	log.Add(at{10, cancel})
	r, err := newTrainer(t, cfg, Options{Out: out, Log: log}).Run(ctx)
	require.NoError(t, err)
	require.True(t, r.Interrupted)
	require.Equal(t, 10, r.Step)
	return out
}

// TestWorkersReadACheckpointTogether: of three workers two find the checkpoint and read a part of it each; with the parameters'
// averages and without, the run ends as if nobody had stopped.
func TestWorkersReadACheckpointTogether(t *testing.T) {
	t.Parallel()
	for _, ema := range []string{"train.ema=0", "train.ema=0.9"} {
		cfg := gptConfig(t, "train.lanes=8", "train.steps=20", "train.log_every=1", "train.reduce=reproducible", ema)
		want := job(t, cfg, 1)
		out := halfway(t, cfg)
		o, ends := newOffice(), make(chan outcome, 3)
		o.resume = map[string]string{"w1": out, "w2": out}
		for i := range 3 {
			o.hire(t, fmt.Sprint("w", i), cfg, out, nil, ends)
		}
		o.open("w0", "w1", "w2")
		for range 3 {
			e := <-ends
			require.NoError(t, e.err)
			require.Equal(t, want, e.result.ModelSHA256, "%s, %s", e.id, ema)
			require.Nil(t, e.final.unread)
		}
		require.Empty(t, o.done[10], "steps before the checkpoint are not done again")
		require.NotEmpty(t, o.done[11])
	}
}

// TestADamagedCheckpointStopsAllWorkers: each file is hashed by one worker only, and what that one finds ends all.
func TestADamagedCheckpointStopsAllWorkers(t *testing.T) {
	t.Parallel()
	cfg := gptConfig(t, "train.lanes=8", "train.steps=20", "train.log_every=1", "train.reduce=reproducible")
	out := halfway(t, cfg)
	c, err := checkpoint.Open(out)
	require.NoError(t, err)
	path := filepath.Join(c.Dir, optimizerFile)
	raw, err := os.ReadFile(path)
	require.NoError(t, err)
	raw[len(raw)-5] ^= 1
	require.NoError(t, os.WriteFile(path, raw, 0o600))
	o, ends := newOffice(), make(chan outcome, 2)
	o.resume = map[string]string{"w0": out, "w1": out}
	o.hire(t, "w0", cfg, out, nil, ends)
	o.hire(t, "w1", cfg, out, nil, ends)
	o.open("w0", "w1")
	for range 2 {
		require.ErrorContains(t, (<-ends).err, "optimizer.safetensors does not match its sha256")
	}
}
