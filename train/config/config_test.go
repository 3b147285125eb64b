package config

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

const sample = `model: {name: gpt, layers: 4, heads: 4, width: 128, context: 64, dropout: 0.0}
data:  {source: text, path: input.txt, tokenizer: char, split: 0.9}
train: {steps: 2000, batch: 12, lanes: 4, precision: fp32, seed: 1337, eval_every: 250, eval_batches: 20, reduce: ring}
optim: {name: adamw, lr: 1e-3, min_lr: 1e-4, warmup: 100, schedule: cosine, betas: [0.9, 0.99], weight_decay: 0.1, clip: 1.0}
`

func parse(text string, env, sets []string) (*Config, error) {
	return Parse("x.yaml", []byte(text), env, sets)
}

func TestParseDesignExample(t *testing.T) {
	t.Parallel()
	c, err := parse(sample, nil, nil)
	require.NoError(t, err)
	require.Equal(t, "gpt", c.Model.Name)
	require.Equal(t, 64, c.Data.Context, "the data's window is the model's context")
	require.Equal(t, 1e-3, c.Optim.LR)
	require.Equal(t, [2]float64{0.9, 0.99}, c.Optim.Betas)
	require.Equal(t, 3, c.Train.Keep, "the default")
}

func TestResolvedRoundTrip(t *testing.T) {
	t.Parallel()
	c, err := parse(sample, nil, []string{"data.augment=[flip, \"crop:4\"]", "optim.min_lr=0"})
	require.NoError(t, err)
	text, err := c.YAML()
	require.NoError(t, err)
	again, err := Parse("config.yaml", text, nil, nil)
	require.NoError(t, err, string(text))
	c.where, again.where, again.name = nil, nil, c.name
	require.Equal(t, c, again)
}

func TestOverridesInOrder(t *testing.T) {
	t.Parallel()
	c, err := parse(sample, []string{"RINGO_TRAIN_STEPS=7", "RINGO_OPTIM_MIN_LR=1e-5", "RINGO_DATA=/x", "HOME=/", "RINGO_DATA_PATH=5: [a"},
		[]string{"train.steps=9", "optim.nesterov=true", "optim.betas=[0.8, 0.9]", "train.seed=3"})
	require.NoError(t, err)
	require.Equal(t, 9, c.Train.Steps, "--set comes last")
	require.Equal(t, 1e-5, c.Optim.MinLR)
	require.Equal(t, "5: [a", c.Data.Path, "text is taken as it is")
	require.True(t, c.Optim.Nesterov)
	require.Equal(t, [2]float64{0.8, 0.9}, c.Optim.Betas)
}

// Every wrong input is one sentence that names place, key, what was found and what was expected.
func TestWrongInput(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		text, want string
		env, sets  []string
		caret      bool
	}{
		{text: "train:\n  stesp: 5\n", want: "x.yaml:2: train.stesp: unknown key: did you mean steps?", caret: true},
		{text: "modle: {}\n", want: "x.yaml:1: modle: unknown key: did you mean model?", caret: true},
		{text: "train: {zzzzzzzz: 1}\n", want: "unknown key, expected one of balance, batch, classifier_rows", caret: true},
		{text: "train: {steps: abc}\n", want: `x.yaml:1: train.steps: text "abc", expected a whole number`, caret: true},
		{text: "train: {steps: 3.5}\n", want: "train.steps: 3.5, expected a whole number", caret: true},
		{text: "train: {steps: '5'}\n", want: `train.steps: text "5", expected a whole number`, caret: true},
		{text: "train: {seed: -1}\n", want: "train.seed: -1, expected a whole number, 0 or more", caret: true},
		{text: "train: {steps: 99999999999999999999}\n", want: "expected a whole number", caret: true},
		{text: "train: {steps: [1]}\n", want: "train.steps: a list, expected a whole number", caret: true},
		{text: "train: {steps: }\n", want: "train.steps: no value, expected a whole number", caret: true},
		{text: "train: {precision: 32}\n", want: "train.precision: 32, expected text", caret: true},
		{text: "optim: {nesterov: 1}\n", want: "optim.nesterov: 1, expected true or false", caret: true},
		{text: "optim: {lr: .nan}\n", want: "expected a number", caret: true},
		{text: "optim: {betas: [0.9]}\n", want: "optim.betas: a list of 1, expected 2", caret: true},
		{text: "optim: {betas: 0.9}\n", want: "optim.betas: 0.9, expected a list", caret: true},
		{text: "optim: {betas: [a, b]}\n", want: `optim.betas[0]: text "a", expected a number`, caret: true},
		{text: "optim: 5\n", want: "optim: 5, expected a section of keys name, lr", caret: true},
		{text: "- a\n", want: "a list, expected a section", caret: true},
		{text: "train: {steps: 1, steps: 2}\n", want: "steps", caret: true},
		{text: "train: {steps: 1\n", want: "x.yaml:1", caret: true},
		{text: "train: &a {steps: 1}\noptim: *a\n", want: "anchors", caret: true},
		{text: sample + "---\ntrain: {steps: 1}\n", want: "a second document", caret: true},
		{text: "", want: "model.name"},
		{text: sample, sets: []string{"train.steps"}, want: "--set train.steps: expected the form"},
		{text: sample, sets: []string{"train.stpes=1"}, want: "--set train.stpes=1: train.stpes: unknown key: did you mean steps?"},
		{text: sample, sets: []string{"train.steps.x=1"}, want: "train.steps has no keys below it"},
		{text: sample, sets: []string{"train.steps=x"}, want: `--set train.steps=x: train.steps: text "x", expected a whole number`},
		{text: sample, sets: []string{"train.steps="}, want: `"" is no value`},
		{text: sample, env: []string{"RINGO_TRAIN_STEP=1"}, want: "environment variable RINGO_TRAIN_STEP: train.step: unknown key"},
		// Impossible values point at where they were written.
		{text: sample, sets: []string{"train.lanes=3"}, want: "--set train.lanes=3: train.lanes: 3: must be a power of two"},
		{text: sample, sets: []string{"train.lanes=8"}, want: "must divide train.batch 12"},
		{text: "model: {name: mlp, sizes: [3]}\ndata: {source: synthetic, shape: [1, 2, 2]}\ntrain:\n  steps: 1\n  batch: 0\n", want: "x.yaml:5: train.batch: 0: must be at least 1", caret: true},
		{text: "model: {name: mlp, sizes: [3]}\ndata: {source: synthetic, shape: [1, 2, 2]}\n", want: "train.steps: 0: must be at least 1, or epochs be given"},
		{text: sample, sets: []string{"optim.lr=-1"}, want: "must be above 0"},
		{text: sample, sets: []string{"optim.min_lr=1"}, want: "must lie between 0 and optim.lr"},
		{text: sample, sets: []string{"optim.schedule=cosin"}, want: `optim.schedule: "cosin": must be one of constant, linear, cosine, wsd`},
		{text: sample, sets: []string{"optim.betas=[1, 0.9]"}, want: "must both lie in [0,1)"},
		{text: sample, sets: []string{"train.precision=fp16"}, want: "must be one of fp32, bf16"},
		{text: sample, sets: []string{"train.early_stop=2", "train.eval_every=0"}, want: "must be 0 unless train.eval_every"},
		{text: sample, sets: []string{"optim.momentum=0", "optim.nesterov=true"}, want: "must be false without momentum"},
		{text: sample, sets: []string{"model.heads=5"}, want: "--set model.heads=5: model.heads"},
		{text: sample, sets: []string{"data.split=2"}, want: "--set data.split=2: data.split"},
		{text: sample, sets: []string{"data.source=nothing"}, want: "data.source"},
	} {
		_, err := parse(c.text, c.env, c.sets)
		var e *Error
		require.ErrorAs(t, err, &e, c.text)
		require.ErrorContains(t, err, c.want, c.text)
		require.Equal(t, c.caret, e.Caret != "", "%v", err)
		if c.caret {
			require.Contains(t, e.Caret, "^")
		}
	}
	_, err := Load(filepath.Join(t.TempDir(), "none.yaml"), nil, nil)
	require.ErrorIs(t, err, os.ErrNotExist)
}

// Whatever is accepted survives a round trip; nothing panics.
func FuzzParse(f *testing.F) {
	f.Add(sample, "train.steps=5")
	f.Add("train: {steps: [1, {a: b}]}", "optim.betas=[1,2]")
	f.Add("model: !!str x\n? a\n: b", "data.augment=[a]")
	f.Fuzz(func(t *testing.T, text, set string) {
		c, err := parse(text, nil, []string{set})
		if err != nil {
			require.NotEmpty(t, err.Error())
			return
		}
		out, err := c.YAML()
		require.NoError(t, err)
		_, err = Parse("again", out, nil, nil)
		require.NoError(t, err, string(out))
	})
}

func ExampleParse() {
	_, err := Parse("run.yaml", []byte("train:\n  stesp: 5\n"), nil, nil)
	fmt.Println(err)
	// Output:
	// run.yaml:2: train.stesp: unknown key: did you mean steps?
	//    1 | train:
	// >  2 |   stesp: 5
	//          ^
}
