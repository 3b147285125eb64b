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

// imageConfig is a model of IDX images that are cropped, flipped and cut at random.
func imageConfig(t testing.TB, model string, sets ...string) *config.Config {
	t.Helper()
	dir := t.TempDir()
	for name, n := range map[string]int{"train": 100, "t10k": 20} {
		images, labels := []byte{0, 0, 8, 3, 0, 0, 0, byte(n), 0, 0, 0, 8, 0, 0, 0, 8}, []byte{0, 0, 8, 1, 0, 0, 0, byte(n)}
		for i := range n {
			labels = append(labels, byte(i%4))
			for p := range 64 {
				images = append(images, byte(i*i+p*(i%4+1)))
			}
		}
		require.NoError(t, os.WriteFile(filepath.Join(dir, name+"-images-idx3-ubyte"), images, 0o600))
		require.NoError(t, os.WriteFile(filepath.Join(dir, name+"-labels-idx1-ubyte"), labels, 0o600))
	}
	return parse(t, `
model: `+model+`
data: {source: idx, path: `+dir+`, augment: ["crop:2", flip, "cutout:3"]}
train: {steps: 15, batch: 16, lanes: 2, seed: 3}
optim: {name: adamw, lr: 1e-2, schedule: cosine, clip: 1}
`, sets...)
}

// Stopped mid-epoch and resumed, with every optimizer and kind of data, the weights have the bits of the run that went through.
func TestResumeIsBitExact(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]*config.Config{
		"clip":        mlpConfig(t, "optim.clip=1"),
		"eager":       mlpConfig(t, "train.lanes=1"), // updates as soon as each gradient is there
		"sgd":         mlpConfig(t, "optim.name=sgd", "optim.nesterov=true", "optim.weight_decay=0.1"),
		"lion":        mlpConfig(t, "optim.name=lion"),
		"muon":        mlpConfig(t, "optim.name=muon"),
		"average":     mlpConfig(t, "train.ema=0.9", "optim.schedule=wsd"),
		"replacement": mlpConfig(t, "data.sampling=random"),
		"convnet":     imageConfig(t, "{name: convnet, channels: [4, 8], hidden: 16, dropout: 0.2}"),
		"batch norm":  imageConfig(t, "{name: resnet, layers: 8, width: 4}", "train.lanes=1"),
		"gpt":         gptConfig(t, "train.steps=15", "model.dropout=0.1"),
		"gpt, epochs": gptConfig(t, "train.steps=15", "data.sampling=epoch", "train.lanes=1", "optim.clip=0"),
		"gpt, bf16":   gptConfig(t, "train.steps=15", "train.precision=bf16", "train.rounding=stochastic"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			resumesExactly(t, cfg)
		})
	}
}

// resumesExactly trains 15 steps on one thread; then 9, and on two threads the other 6, in a new process's place.
func resumesExactly(t *testing.T, cfg *config.Config) {
	t.Helper()
	whole := newTrainer(t, cfg, Options{Out: t.TempDir(), Threads: 1})
	want := hash(t, whole, 15)
	out := t.TempDir()
	first := newTrainer(t, cfg, Options{Out: out})
	half := hash(t, first, 9)
	require.NotEqual(t, want, half)
	require.NotZero(t, 9*cfg.Train.Batch%whole.train.Len(), "mid-epoch")
	second := newTrainer(t, cfg, Options{Out: out, Threads: 2})
	notes, err := second.Resume(out)
	require.NoError(t, err)
	require.Empty(t, notes)
	done, all := second.Steps()
	require.Equal(t, []int{9, 15}, []int{done, all})
	require.Equal(t, want, hash(t, second, 6))
	wantScore, err := whole.Evaluate(0)
	require.NoError(t, err)
	score, err := second.Evaluate(0)
	require.NoError(t, err)
	require.Equal(t, wantScore.Loss, score.Loss)
	require.Equal(t, wantScore.Samples, score.Samples)
}

func TestCheckpointOfAnotherModel(t *testing.T) {
	t.Parallel()
	out := t.TempDir()
	hash(t, newTrainer(t, mlpConfig(t), Options{Out: out}), 1)
	other := newTrainer(t, mlpConfig(t, "model.sizes=[25]"), Options{})
	_, err := other.Resume(out)
	require.ErrorContains(t, err, "checkpoint of another model: tensor")
	require.ErrorContains(t, err, "f32(24,36), the model needs f32(25,36)")
	sgd := newTrainer(t, mlpConfig(t, "optim.name=sgd"), Options{})
	_, err = sgd.Resume(out)
	require.ErrorContains(t, err, "optimizer state")
}

func TestResumeNotes(t *testing.T) {
	t.Parallel()
	out := t.TempDir()
	hash(t, newTrainer(t, mlpConfig(t), Options{Out: out}), 1)
	other := newTrainer(t, mlpConfig(t, "train.seed=4", "data.seed=9"), Options{})
	notes, err := other.Resume(out)
	require.NoError(t, err)
	require.NotEmpty(t, notes)
	require.Contains(t, notes[0], "train.seed is 4")
}

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
