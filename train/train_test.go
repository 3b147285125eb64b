package train

import (
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	_ "ringo/kernels"
	"ringo/train/checkpoint"
	"ringo/train/config"
	"ringo/train/metrics"
)

const corpus = "the quick brown fox jumps over the lazy dog. "

// gptConfig is a tiny character model on a made-up text.
func gptConfig(t testing.TB, sets ...string) *config.Config {
	t.Helper()
	path := filepath.Join(t.TempDir(), "input.txt")
	var text []byte
	for i := range 60 {
		text = append(text, corpus...)
		text = append(text, fmt.Sprintf("%d\n", i)...)
	}
	require.NoError(t, os.WriteFile(path, text, 0o600))
	return parse(t, `
model: {name: gpt, layers: 1, heads: 2, width: 32, context: 16}
data: {source: text, path: `+path+`, tokenizer: char}
train: {steps: 12, batch: 8, lanes: 2, seed: 7, eval_batches: 2, sample: 0}
optim: {name: adamw, lr: 3e-3, warmup: 2, schedule: cosine, clip: 1.0, weight_decay: 0.1}
`, sets...)
}

// mlpConfig is a classifier of synthetic images, with dropout.
func mlpConfig(t testing.TB, sets ...string) *config.Config {
	t.Helper()
	return parse(t, `
model: {name: mlp, sizes: [24], dropout: 0.1}
data: {source: synthetic, shape: [1, 6, 6], classes: 4, samples: 100, sampling: epoch}
train: {steps: 15, batch: 16, lanes: 4, seed: 3}
optim: {name: adamw, lr: 1e-2, schedule: constant}
`, sets...)
}

func parse(t testing.TB, text string, sets ...string) *config.Config {
	t.Helper()
	c, err := config.Parse("test.yaml", []byte(text), nil, sets)
	require.NoError(t, err)
	return c
}

func newTrainer(t testing.TB, c *config.Config, o Options) *Trainer {
	t.Helper()
	o.Device = "cpu"
	tr, err := New(c, o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, tr.Close()) })
	return tr
}

// hash trains n steps and returns the hash of the saved model.
func hash(t testing.TB, tr *Trainer, n int) string {
	t.Helper()
	steps(t, tr, n)
	c, err := tr.Save()
	require.NoError(t, err)
	return c.Files[modelFile].SHA256
}

func steps(t testing.TB, tr *Trainer, n int) (losses []float64) {
	t.Helper()
	for range n {
		loss, err := tr.Step()
		require.NoError(t, err)
		losses = append(losses, loss)
	}
	return losses
}

func TestTextRunLearnsAndWrites(t *testing.T) {
	t.Parallel()
	out := t.TempDir()
	tr := newTrainer(t, gptConfig(t, "train.steps=150", "train.eval_every=50", "train.save_every=60", "train.keep=2"), Options{Out: out})
	var events recorder
	tr.o.Log = metrics.NewLog(&events)
	r, err := tr.Run(context.Background())
	require.NoError(t, err)
	require.Less(t, r.Score.Loss, 1.0, "the text repeats itself")
	require.InDelta(t, math.Exp(r.Score.Loss), r.Score.Perplexity, 1e-9)
	require.True(t, math.IsNaN(r.Score.Accuracy))
	require.Len(t, r.ModelSHA256, 64)
	require.Equal(t, 3, events.count("eval"))
	require.Equal(t, 3, events.count("checkpoint"))
	require.Equal(t, 1, events.count("start"))
	require.GreaterOrEqual(t, events.count("step"), 150)

	text := ""
	require.NoError(t, tr.Sample(40, Sampling{}, func(s string) error { text += s; return nil }))
	require.Len(t, text, 40)

	u, err := Open(out, "cpu", 0)
	require.NoError(t, err)
	defer func() { require.NoError(t, u.Close()) }()
	s, err := u.Evaluate(tr.valid, 5, 0)
	require.NoError(t, err)
	again, err := tr.Evaluate(0)
	require.NoError(t, err)
	require.InDelta(t, again.Loss, s.Loss, 1e-6, "a loaded model is the saved one, whatever the batch")
	reloaded := ""
	require.NoError(t, u.Generate("", 40, Sampling{}, func(s string) error { reloaded += s; return nil }))
	require.Equal(t, text, reloaded)
	require.ErrorContains(t, u.Generate("é", 4, Sampling{}, nil), "prompt")
}

func TestInterruptSavesACheckpoint(t *testing.T) {
	t.Parallel()
	out := t.TempDir()
	tr := newTrainer(t, mlpConfig(t), Options{Out: out})
	ctx, cancel := context.WithCancel(context.Background())
	tr.o.Log = metrics.NewLog(hook(func(e metrics.Event) {
		if s, ok := e.(*metrics.Step); ok && s.Step == 4 {
			cancel()
		}
	}))
	r, err := tr.Run(ctx)
	require.NoError(t, err)
	require.True(t, r.Interrupted)
	require.Equal(t, 4, r.Step)
	c, err := checkpoint.Open(out)
	require.NoError(t, err)
	require.Equal(t, 4, c.Step)
}

func TestEarlyStop(t *testing.T) {
	t.Parallel()
	out := t.TempDir()
	// A rate of almost nothing improves nothing after the first evaluation.
	tr := newTrainer(t, mlpConfig(t, "optim.lr=1e-30", "train.steps=500", "train.eval_every=2", "train.early_stop=3", "train.save_every=2", "train.keep=1"), Options{Out: out})
	var events recorder
	tr.o.Log = metrics.NewLog(&events)
	r, err := tr.Run(context.Background())
	require.NoError(t, err)
	require.Equal(t, "early stop", r.Reason)
	require.True(t, r.Evaluated)
	require.Equal(t, 4, events.count("eval"), "the last evaluation is the one that stopped the run")
	require.Equal(t, 8, r.Step)

	// The best model outlives newer ones and can be used by its name.
	require.Equal(t, 2, r.BestStep)
	best, err := Open(filepath.Join(out, "checkpoints", checkpoint.BestName), "cpu", 0)
	require.NoError(t, err)
	defer func() { require.NoError(t, best.Close()) }()
	require.Equal(t, 2, best.State.Step)
	score, err := best.Evaluate(tr.valid, 4, 0)
	require.NoError(t, err)
	require.InDelta(t, r.BestLoss, score.Loss, 1e-6)
	newest, err := checkpoint.Open(out)
	require.NoError(t, err)
	require.Equal(t, 8, newest.Step)
}

// A validation loss that is not finite is no best one, and does not make the best so far forgotten.
func TestBestIsFinite(t *testing.T) {
	t.Parallel()
	tr := newTrainer(t, mlpConfig(t, "train.early_stop=9", "train.eval_every=1"), Options{})
	var best []bool
	tr.o.Log = metrics.NewLog(hook(func(e metrics.Event) { best = append(best, e.(*metrics.Eval).Best) }))
	weight := tr.prog.Tensors[0]
	good, bad := make([]byte, weight.Type.Bytes()), make([]byte, weight.Type.Bytes())
	require.NoError(t, tr.store.Read(weight.Name, good))
	for i := range bad {
		bad[i] = 0xff // NaN
	}
	for step, raw := range [][]byte{bad, good, bad, good} {
		require.NoError(t, tr.store.Write(weight.Name, raw))
		tr.step = step + 1
		_, err := tr.evaluate()
		require.NoError(t, err)
	}
	require.Equal(t, []bool{false, true, false, false}, best)
	require.Equal(t, []int{2, 2}, []int{tr.state.BestStep, tr.state.BadEvals})
}

// The same seed gives the same bits, whatever the number of threads.
func TestSameSeedSameBits(t *testing.T) {
	t.Parallel()
	conv := parse(t, `
model: {name: resnet, layers: 8, width: 4}
data: {source: synthetic, shape: [3, 12, 12], classes: 4, samples: 40, sampling: epoch}
train: {steps: 6, batch: 8, lanes: 2, seed: 5, precision: bf16}
optim: {name: sgd, lr: 0.05, momentum: 0.9}
`)
	for name, c := range map[string]*config.Config{"gpt": gptConfig(t, "model.dropout=0.1"), "mlp": mlpConfig(t), "resnet": conv} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want := hash(t, newTrainer(t, c, Options{Threads: 1, Out: t.TempDir()}), 6)
			for _, threads := range []int{1, 2, 5} {
				require.Equal(t, want, hash(t, newTrainer(t, c, Options{Threads: threads, Out: t.TempDir()}), 6), "%d threads", threads)
			}
		})
	}
}

func TestNaNLossNamesStepAndTensor(t *testing.T) {
	t.Parallel()
	out := t.TempDir()
	tr := newTrainer(t, mlpConfig(t, "optim.name=sgd", "optim.lr=1e30", "train.save_every=1", "train.lanes=1"), Options{Out: out})
	_, err := tr.Run(context.Background())
	var bad *nonFinite
	require.ErrorAs(t, err, &bad)
	require.NotEmpty(t, bad.First)
	require.ErrorContains(t, err, fmt.Sprintf("step %d: the loss is", bad.Step))
	require.ErrorContains(t, err, "lower optim.lr")
	require.ErrorContains(t, err, "the last checkpoint is "+filepath.Join(out, "checkpoints"))

	// A broken weight is named as such.
	tr = newTrainer(t, mlpConfig(t), Options{})
	p := tr.prog.Tensors[0]
	raw := make([]byte, p.Type.Bytes())
	require.NoError(t, tr.store.Read(p.Name, raw))
	copy(raw[8:], []byte{0, 0, 0xc0, 0x7f}) // element 2 := NaN
	require.NoError(t, tr.store.Write(p.Name, raw))
	_, err = tr.Step()
	require.ErrorContains(t, err, fmt.Sprintf("step 1: the loss is NaN; the first tensor that is not finite is param %q", p.Name))
	require.ErrorContains(t, err, "element 2 is NaN")
}

func TestSteadyStateDoesNotAllocate(t *testing.T) {
	for _, c := range []*config.Config{gptConfig(t, "train.steps=100000"), mlpConfig(t, "train.steps=100000"), mlpConfig(t, "train.steps=100000", "train.lanes=1", "train.ema=0.9")} {
		tr := newTrainer(t, c, Options{})
		steps(t, tr, 5)
		require.Zero(t, testing.AllocsPerRun(50, func() {
			_, err := tr.Step()
			require.NoError(t, err)
		}))
	}
}

func TestFitRefuses(t *testing.T) {
	t.Parallel()
	for want, c := range map[string]*config.Config{
		"do not go together":                 parse(t, "model: {name: gpt, layers: 1, heads: 1, width: 8, context: 4, vocab: 9}\ndata: {source: synthetic, shape: [1, 2, 2]}\ntrain: {steps: 1}"),
		"model.classes: found 3":             mlpConfig(t, "model.classes=3"),
		"the model expects":                  mlpConfig(t, "model.input=[1, 7, 7]"),
		"optim.warmup: found 15, expected l": mlpConfig(t, "optim.warmup=15"),
	} {
		_, err := New(c, Options{Device: "cpu"})
		require.ErrorContains(t, err, want)
	}
	_, err := New(mlpConfig(t), Options{Device: "abacus"})
	require.ErrorContains(t, err, `device "abacus"`)
	_, err = New(gptConfig(t, "data.path=/nowhere"), Options{Device: "cpu"})
	require.ErrorIs(t, err, os.ErrNotExist)
}

// recorder keeps the kinds of events.
type recorder []string

func (r *recorder) Event(e metrics.Event, _ []byte) error {
	*r = append(*r, fmt.Sprintf("%T", e))
	return nil
}
func (r *recorder) Close() error { return nil }

func (r *recorder) count(kind string) (n int) {
	for _, k := range *r {
		if k == map[string]string{"eval": "*metrics.Eval", "step": "*metrics.Step", "checkpoint": "*metrics.Checkpoint", "start": "*metrics.Start"}[kind] {
			n++
		}
	}
	return n
}

type hook func(metrics.Event)

func (h hook) Event(e metrics.Event, _ []byte) error { h(e); return nil }
func (h hook) Close() error                          { return nil }
