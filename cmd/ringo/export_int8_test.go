package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"ringo/export/safetensors"
	"ringo/internal/files"
	"ringo/runtime/tensor"
	"ringo/train/checkpoint"
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

// TestExportInt8KeepsFloat: with --keep-float auto a model that int8 spoils is written, its bad layer in float.
func TestExportInt8KeepsFloat(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	run, table := filepath.Join(dir, "run"), &strings.Builder{}
	table.WriteString("a,b,sector\n")
	for i := range 600 { // points on three sectors of a circle
		angle := float64(i) * math.Pi * (math.Sqrt(5) - 1)
		fmt.Fprintf(table, "%.4f,%.4f,%c\n", math.Cos(angle), math.Sin(angle), 'x'+rune(math.Mod(angle, 2*math.Pi)*3/(2*math.Pi)))
	}
	recipe := fmt.Sprintf(`
model: {name: mlp, sizes: [16]}
data: {source: csv, path: %q, target: sector}
train: {steps: 150, batch: 32}
optim: {name: adamw, lr: 2e-2}
`, write(t, dir, "circle.csv", table.String()))
	code, _, errs := ringo(t, "train", "-c", write(t, dir, "m.yaml", recipe), "--out", run, "--device", "cpu")
	require.Zero(t, code, errs)
	hard := uneven(t, run)
	to := filepath.Join(dir, "m.safetensors")
	args := []string{"export", "--checkpoint", hard, "--format", "ringo", "--int8", "--out", to, "--max-drop", "1", "--device", "cpu"}
	code, _, errs = ringo(t, args...)
	require.Equal(t, exitFailed, code, errs)
	require.Contains(t, errs, "keep layers in float")
	require.NoFileExists(t, to)

	code, text, errs := ringo(t, append(args, "--keep-float", "auto")...)
	require.Zero(t, code, errs)
	require.Regexp(t, `2\.weight .* kept in float`, text)
	require.NotRegexp(t, `0\.weight .* kept in float`, text)
	code, _, errs = ringo(t, "eval", "--checkpoint", to, "--device", "cpu")
	require.Zero(t, code, errs)
}

// uneven copies a run's newest checkpoint with the hidden units of its mlp 1, 2, 4, … 2¹⁵ times as large, and the weights
// that read them as much smaller: float gives the same to the bit, while 8 bits of one range lose half of the units.
func uneven(t *testing.T, run string) string {
	t.Helper()
	c, err := checkpoint.Open(run)
	require.NoError(t, err)
	f, err := safetensors.Open(c.Path("model.safetensors"))
	require.NoError(t, err)
	defer f.Close()
	var items []safetensors.Item
	for _, e := range f.Entries() {
		x, err := f.Tensor(e.Name)
		require.NoError(t, err)
		values, units := tensor.Data[float32](x), 16
		for i := range values {
			switch e.Name {
			case "0.weight", "0.bias":
				values[i] *= float32(int(1) << (i / (len(values) / units)))
			case "2.weight":
				values[i] /= float32(int(1) << (i % units))
			}
		}
		items = append(items, safetensors.FromTensor(e.Name, x))
	}
	var parts []files.Part
	for name := range c.Files {
		parts = append(parts, files.Part{Name: name, Write: func(w io.Writer) error {
			if name == "model.safetensors" {
				return safetensors.Write(w, nil, items)
			}
			raw, err := os.ReadFile(c.Path(name))
			if err == nil {
				_, err = w.Write(raw)
			}
			return err
		}})
	}
	out, err := (&checkpoint.Store{Dir: filepath.Join(t.TempDir(), "checkpoints")}).Save(c.Step, parts)
	require.NoError(t, err)
	return out.Dir
}
