package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

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
