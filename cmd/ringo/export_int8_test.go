package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestExportInt8 trains a classifier and a language model, writes them in int8, and uses what was written.
func TestExportInt8(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	run := filepath.Join(dir, "run")
	code, _, errs := ringo(t, "train", "-c", write(t, dir, "m.yaml", mlp), "--out", run, "--device", "cpu")
	require.Zero(t, code, errs)
	own := filepath.Join(dir, "m.safetensors")
	for format, path := range map[string]string{"onnx": filepath.Join(dir, "m.onnx"), "ringo": own} {
		code, text, errs := ringo(t, "export", "--checkpoint", run, "--format", format, "--int8", "--out", path, "--max-drop", "100", "--device", "cpu")
		require.Zero(t, code, errs)
		require.Contains(t, text, "times smaller")
		require.Contains(t, text, "wrote "+path)
		require.FileExists(t, path)
		require.FileExists(t, filepath.Join(dir, "report.png"))
	}
	raw, err := os.ReadFile(filepath.Join(dir, "report.json"))
	require.NoError(t, err)
	var report struct {
		Passed bool
		Int8   struct{ Accuracy, Loss float64 }
	}
	require.NoError(t, json.Unmarshal(raw, &report))
	require.True(t, report.Passed)
	code, text, errs := ringo(t, "eval", "--checkpoint", own, "--json", "--device", "cpu")
	require.Zero(t, code, errs)
	var score struct {
		ValLoss float64 `json:"val_loss"`
	}
	require.NoError(t, json.Unmarshal([]byte(text), &score))
	require.InDelta(t, report.Int8.Loss, score.ValLoss, 1e-6)

	words := filepath.Join(dir, "words")
	code, _, errs = ringo(t, "train", "-c", textConfig(t, dir), "--out", words, "--device", "cpu")
	require.Zero(t, code, errs)
	gpt := filepath.Join(dir, "gpt.safetensors")
	code, _, errs = ringo(t, "export", "--checkpoint", words, "--format", "ringo", "--int8", "--out", gpt, "--batches", "2", "--device", "cpu")
	require.Zero(t, code, errs)
	code, text, errs = ringo(t, "generate", "--checkpoint", gpt, "--tokens", "5", "--device", "cpu")
	require.Zero(t, code, errs)
	require.NotEmpty(t, text)
}

// TestExportInt8Refuses: what does not pass, or cannot be, is one sentence, and nothing is written.
func TestExportInt8Refuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	run := filepath.Join(dir, "run")
	code, _, errs := ringo(t, "train", "-c", write(t, dir, "m.yaml", mlp), "--out", run, "--device", "cpu")
	require.Zero(t, code, errs)
	to := filepath.Join(dir, "new")
	require.NoError(t, os.Mkdir(to, 0o700))
	for _, c := range []struct {
		code int
		want string
		more []string
	}{
		{exitFailed, "no calibration data", []string{"--set", "data.source=idx", "--set", "data.path=/nowhere"}},
		{exitUsage, "no such layer", []string{"--keep-float", "nothing"}},
		{exitUsage, "calibration batches", []string{"--calibration-batches", "0"}},
		{exitUsage, "unknown, expected auto", []string{"--calibrate", "guess"}},
		{exitFailed, "do not fit the model", []string{"--set", "data.shape=[1, 9, 9]"}},
		{exitUsage, "expected onnx or ringo", []string{"--format", "gguf"}},
	} {
		args := append([]string{"export", "--checkpoint", run, "--format", "onnx", "--int8", "--out", filepath.Join(to, "m.onnx"), "--device", "cpu"}, c.more...)
		code, _, errs := ringo(t, args...)
		require.Equal(t, c.code, code, "%s", errs)
		require.Contains(t, errs, c.want)
		left, err := os.ReadDir(to)
		require.NoError(t, err)
		require.Empty(t, left)
	}
}
