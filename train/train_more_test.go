package train

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"ringo/internal/files"
	"ringo/runtime/plan"
	"ringo/train/checkpoint"
	"ringo/train/config"
)

// The planner's optional passes change the speed, not the losses.
func TestPassesDoNotChangeLosses(t *testing.T) {
	t.Parallel()
	for _, c := range []*config.Config{gptConfig(t), mlpConfig(t)} {
		want := steps(t, newTrainer(t, c, Options{}), 8)
		got := steps(t, newTrainer(t, c, Options{Disable: plan.PassNames()}), 8)
		require.InDeltaSlice(t, want, got, 1e-6)
		require.NotEqual(t, want[0], want[7])
	}
}

// The plain float64 reference of every op gives the same course to float32's precision.
func TestReferenceAgrees(t *testing.T) {
	t.Parallel()
	for _, c := range []*config.Config{gptConfig(t), mlpConfig(t)} {
		want := steps(t, newTrainer(t, c, Options{Reference: true}), 5)
		require.InDeltaSlice(t, want, steps(t, newTrainer(t, c, Options{}), 5), 1e-4)
	}
}

func TestBF16FollowsFP32(t *testing.T) {
	t.Parallel()
	want := steps(t, newTrainer(t, gptConfig(t), Options{}), 10)
	got := steps(t, newTrainer(t, gptConfig(t, "train.precision=bf16"), Options{}), 10)
	require.InEpsilonSlice(t, want, got, 2e-2)
}

// fullDisk refuses to make files once it is full.
type fullDisk struct {
	files.OS
	full *bool
}

var errFull = errors.New("no space left on device (injected)")

func (d fullDisk) Create(path string) (files.File, error) {
	if *d.full {
		return nil, errFull
	}
	return d.OS.Create(path)
}

func TestFullDiskEndsTheRunWithTheOldCheckpointIntact(t *testing.T) {
	t.Parallel()
	out, full := t.TempDir(), false
	tr := newTrainer(t, mlpConfig(t, "train.save_every=5"), Options{Out: out, FS: fullDisk{full: &full}})
	want := hash(t, tr, 3)
	full = true
	_, err := tr.Run(context.Background())
	require.ErrorIs(t, err, errFull)
	require.ErrorContains(t, err, "saving checkpoint 5")
	c, err := checkpoint.Open(out)
	require.NoError(t, err)
	require.Equal(t, 3, c.Step)
	require.Equal(t, want, c.Files[modelFile].SHA256)
}

// A checkpoint whose hashes are right but whose state is not what this program writes.
func TestStateOfAnotherFormat(t *testing.T) {
	t.Parallel()
	out := t.TempDir()
	hash(t, newTrainer(t, mlpConfig(t), Options{Out: out}), 1)
	c, err := checkpoint.Open(out)
	require.NoError(t, err)
	store := checkpoint.Store{Dir: filepath.Join(t.TempDir(), "checkpoints")}
	var parts []files.Part
	for _, name := range []string{modelFile, optimizerFile} {
		parts = append(parts, copyPart(t, c, name))
	}
	_, err = store.Save(1, parts)
	require.NoError(t, err)
	_, err = Open(store.Dir, "cpu", 0)
	require.ErrorContains(t, err, "its manifest lacks state.json")
	for want, state := range map[string]any{
		"has format 9 and step 1, expected 1 and 1": State{Format: 9, Step: 1},
		"cannot unmarshal":                          []int{1},
	} {
		raw, err := json.Marshal(state)
		require.NoError(t, err)
		_, err = store.Save(1, append(parts, files.Part{Name: stateFile, Write: writer(raw)}))
		require.NoError(t, err)
		_, err = Open(store.Dir, "cpu", 0)
		require.ErrorContains(t, err, want)
	}
}

func copyPart(t *testing.T, c *checkpoint.Checkpoint, name string) files.Part {
	t.Helper()
	raw, err := os.ReadFile(c.Path(name))
	require.NoError(t, err)
	return files.Part{Name: name, Write: writer(raw)}
}

func writer(raw []byte) func(io.Writer) error {
	return func(w io.Writer) error { _, err := w.Write(raw); return err }
}

func ExampleTrainer() {
	cfg, err := config.Parse("example.yaml", []byte(`
model: {name: mlp, sizes: [16]}
data: {source: synthetic, shape: [1, 4, 4], classes: 2, samples: 32}
train: {steps: 3, batch: 8}
optim: {name: sgd, lr: 0.1, momentum: 0.9}
`), nil, nil)
	if err != nil {
		panic(err)
	}
	t, err := New(cfg, Options{Device: "cpu"})
	if err != nil {
		panic(err)
	}
	r, err := t.Run(context.Background())
	fmt.Println(r.Reason, r.Step, err, t.Close())
	// Output: finished 3 <nil> <nil>
}

// TestClassifierInChunks: GPT's classifier, which is the embedding too, and Llama's own, in chunks of rows, of which the last is shorter,
// change the losses by rounding at most: clipped in lanes, updated at once, and with what is computed again. 64 rows per lane.
func TestClassifierInChunks(t *testing.T) {
	t.Parallel()
	for _, model := range []string{"gpt", "llama"} {
		for _, more := range [][]string{{"train.lanes=2"}, {"train.lanes=1", "train.batch=4", "optim.clip=0", "train.recompute=norm"},
			{"train.lanes=2", "train.precision=bf16", "model.width=64"}} {
			sets := append([]string{"model.name=" + model, "train.eval_every=2"}, more...)
			whole := newTrainer(t, gptConfig(t, sets...), Options{})
			want := steps(t, whole, 6)
			for _, rows := range []string{"32", "24"} {
				got := steps(t, newTrainer(t, gptConfig(t, append(sets, "train.classifier_rows="+rows)...), Options{}), 6)
				for i := range want {
					require.InEpsilon(t, want[i], got[i], 1e-5, "%s %v, %s rows, step %d", model, more, rows, i)
				}
			}
		}
	}
}

// TestRecompute: computing values again changes the losses by rounding at most, dropout included.
func TestRecompute(t *testing.T) {
	t.Parallel()
	sets := []string{"model.layers=2", "model.dropout=0.1"}
	want := steps(t, newTrainer(t, gptConfig(t, sets...), Options{}), 6)
	for _, how := range []string{"gelu", "norm", "block"} {
		got := steps(t, newTrainer(t, gptConfig(t, append(sets, "train.recompute="+how)...), Options{}), 6)
		for i := range want {
			require.InEpsilon(t, want[i], got[i], 1e-5, "%s, step %d", how, i)
		}
	}
}
