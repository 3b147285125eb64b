package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Every wrong input ends with its exit code and one sentence.
func TestWrongInput(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	good := write(t, dir, "good.yaml", mlp)
	nan := write(t, dir, "nan.yaml", strings.Replace(mlp, "name: adamw, lr: 1e-2", "name: sgd, lr: 1e38", 1))
	table := write(t, dir, "t.csv", "a,b\n1,x\n2,y\n3,x\n")
	column := write(t, dir, "column.yaml", "model: {name: mlp, sizes: [4]}\ndata:\n  source: csv\n  path: "+table+"\n  target: c\ntrain: {steps: 1}\n")
	typo := write(t, dir, "typo.yaml", "train:\n  stesp: 5\n")
	out := filepath.Join(dir, "out")
	for _, c := range []struct {
		code int
		want string
		args []string
	}{
		{2, "unexpected argument nonsense", []string{"nonsense"}},
		{2, "unknown flag --nope", []string{"train", "--nope"}},
		{2, "missing flags: --config", []string{"train"}},
		{2, "no such file", []string{"train", "-c", filepath.Join(dir, "missing.yaml")}},
		{2, "typo.yaml:2: train.stesp: unknown key: did you mean steps?", []string{"train", "-c", typo}},
		{2, "--set train.batch=0: train.batch", []string{"train", "-c", good, "--set", "train.batch=0"}},
		{2, "--device abacus", []string{"train", "-c", good, "--device", "abacus"}},
		{2, "--threads -1", []string{"train", "-c", good, "--threads=-1"}},
		{2, "model.classes", []string{"train", "-c", good, "--set", "model.classes=2"}},
		{2, "column.yaml:5: data.target: column \"c\" is not in " + table + ", which has a, b\n", []string{"train", "-c", column}},
		{2, ">  5 |   target: c\n                 ^", []string{"data", "inspect", "-c", column}},
		{2, "--set data.columns=[a, z]: data.columns: column \"z\" is not in", []string{"train", "-c", column, "--set", "data.columns=[a, z]", "--set", "data.target=a"}},
		{2, "nothing to resume", []string{"train", "-c", good, "--out", out, "--resume"}},
		{1, "nowhere", []string{"train", "-c", good, "--set", "data.source=text", "--set", "data.path=/nowhere", "--set", "data.context=4"}},
		{1, "the first tensor that is not finite", []string{"train", "-c", nan, "--out", filepath.Join(dir, "nan")}},
		{1, "no such file", []string{"eval", "--checkpoint", filepath.Join(dir, "none")}},
		{2, "--max-drop -1: expected 0 or more", []string{"export", "--checkpoint", dir, "--format", "onnx", "--int8", "--out", out, "--max-drop=-1"}},
		{2, "--temperature", []string{"generate", "--checkpoint", dir, "--temperature=-1"}},
		{1, "unknown, expected one of", []string{"data", "fetch", "nothing"}},
		{2, "unknown", []string{"bench", "nothing"}},
	} {
		code, stdout, errs := ringo(t, c.args...)
		require.Equal(t, c.code, code, "%v: %s", c.args, errs)
		require.Contains(t, errs, c.want, c.args)
		require.NotContains(t, stdout+errs, "goroutine", c.args)
	}
	code, _, errs := ringo(t, "data", "fetch")
	require.Zero(t, code, errs)
}

// Data that cannot be read, and checkpoints that do not fit or are damaged, end a run with exit code 1 and one sentence.
func TestBadDataAndCheckpoints(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cfg := write(t, dir, "m.yaml", mlp)
	run := filepath.Join(dir, "run")
	code, _, errs := ringo(t, "train", "-c", cfg, "--out", run, "--json")
	require.Zero(t, code, errs)
	older, damaged := filepath.Join(run, "checkpoints", "step-10"), filepath.Join(run, "checkpoints", "step-20")
	weights := filepath.Join(damaged, "model.safetensors")
	raw, err := os.ReadFile(weights)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(weights, raw[:len(raw)-1], 0o600))

	images := filepath.Join(dir, "images")
	require.NoError(t, os.Mkdir(images, 0o700))
	write(t, images, "train-images-idx3-ubyte", "\x00\x00\x08\x03\x00\x00")
	write(t, images, "train-labels-idx1-ubyte", "\x00\x00\x08\x01\x00\x00\x00\x01\x00")
	table := write(t, dir, "t.csv", "a,b,c\n1,2,x\n3,z,y\n1,2,x\n1,2,y\n")
	source := func(kind, path string) []string {
		return []string{"--set", "data.source=" + kind, "--set", "data.path=" + path, "--set", "data.context=4"}
	}
	for want, more := range map[string][]string{
		"the text is empty":                                                   source("text", write(t, dir, "empty.txt", "")),
		"truncated: 6 bytes, the header alone takes 16":                       source("idx", images),
		`t.csv:3: column "b": "z" is not a number`:                            append(source("csv", table), "--set", "data.columns=[a, \"b:numeric\", c]"),
		"the older checkpoint is complete, use it with --checkpoint " + older: {"--checkpoint", run},
		`tensor "0.weight" is f32(16,16), the model needs f32(17,16)`:         {"--checkpoint", older, "--set", "model.sizes=[17]"},
	} {
		out := filepath.Join(dir, "out")
		code, stdout, errs := ringo(t, append([]string{"train", "-c", cfg, "--out", out}, more...)...)
		require.Equal(t, exitFailed, code, errs)
		require.Contains(t, errs, want)
		require.Equal(t, 1, strings.Count(errs, "\n"), errs)
		require.Empty(t, stdout)
		require.NoDirExists(t, out)
	}
}
