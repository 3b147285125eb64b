package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"ringo/export/huggingface"
	"ringo/internal/exporttest"
	"ringo/internal/ort"
	"ringo/models"
)

// TestExport trains a model and writes it in every format; a folder of Hugging Face's is exported once more.
func TestExport(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	out := filepath.Join(dir, "run")
	code, _, errs := ringo(t, "train", "-c", textConfig(t, dir), "--out", out, "--device", "cpu")
	require.Zero(t, code, errs)
	export := func(from, format, to string, more ...string) {
		code, text, errs := ringo(t, append([]string{"export", "--checkpoint", from, "--format", format, "--out", filepath.Join(dir, to)}, more...)...)
		require.Zero(t, code, errs)
		require.Contains(t, text, "gpt, step 10, ")
		require.Contains(t, text, "wrote "+filepath.Join(dir, to)+" as "+format)
	}
	export(out, "onnx", "m.onnx")
	export(out, "safetensors", "hf")
	export(filepath.Join(dir, "hf"), "onnx", "again.onnx")
	export(filepath.Join(dir, "hf"), "gguf", "m.gguf", "--dtype", "q8_0")

	f, err := huggingface.Open(filepath.Join(dir, "hf"))
	require.NoError(t, err)
	in, want := exporttest.Run(t, f.Model, f, 3, 5)
	require.NoError(t, f.Close())
	for _, name := range []string{"m.onnx", "again.onnx"} {
		got, err := ort.Open(t, filepath.Join(dir, name), ort.Options{}).Run(in)
		require.NoError(t, err)
		require.InDeltaSlice(t, want.Float64s(), got[models.Logits].Float64s(), 1e-5)
	}
	left, err := filepath.Glob(filepath.Join(dir, ".*"))
	require.NoError(t, err)
	require.Empty(t, left)
}

// TestExportRefuses answers what cannot be exported with one sentence and writes nothing.
func TestExportRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	run := filepath.Join(dir, "run")
	code, _, errs := ringo(t, "train", "-c", write(t, dir, "m.yaml", mlp), "--out", run, "--device", "cpu")
	require.Zero(t, code, errs)
	otherHF := filepath.Join(dir, "other")
	code, _, errs = ringo(t, "export", "--checkpoint", run, "--format", "safetensors", "--out", otherHF)
	require.Zero(t, code, errs)
	config := filepath.Join(otherHF, "config.json")
	raw, err := os.ReadFile(config)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(config, []byte(strings.Replace(string(raw), "16\n", "17\n", 1)), 0o600))

	into := filepath.Join(dir, "out")
	require.NoError(t, os.Mkdir(into, 0o700))
	for _, c := range []struct {
		code int
		want string
		args []string
	}{
		{exitUsage, "--format torch: no such format, expected safetensors, onnx or gguf", []string{"--checkpoint", run, "--format", "torch"}},
		{exitUsage, "--dtype q8_0: onnx is written as f32", []string{"--checkpoint", run, "--format", "onnx", "--dtype", "q8_0"}},
		{exitFailed, "model mlp has no form that llama.cpp runs", []string{"--checkpoint", run, "--format", "gguf"}},
		{exitFailed, "no such file or directory", []string{"--checkpoint", filepath.Join(dir, "absent"), "--format", "onnx"}},
		{exitFailed, "weights of another model: tensor \"0.weight\" is f32(16,16), mlp needs f32(17,16)", []string{"--checkpoint", otherHF, "--format", "onnx"}},
	} {
		code, _, errs := ringo(t, append(append([]string{"export"}, c.args...), "--out", filepath.Join(into, "m"))...)
		require.Equal(t, c.code, code, errs)
		require.Contains(t, errs, c.want)
		require.Equal(t, 1, strings.Count(errs, "\n"), errs)
		exporttest.Empty(t, into)
	}
	code, _, errs = ringo(t, "export", "--checkpoint", run, "--format", "onnx", "--out", filepath.Join(dir, "no", "folder", "m.onnx"))
	require.Equal(t, exitFailed, code)
	require.Contains(t, errs, "ringo: writing "+filepath.Join(dir, "no", "folder", "m.onnx"))
}
