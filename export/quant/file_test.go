package quant_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"ringo/export/quant"
	"ringo/export/safetensors"
	"ringo/internal/exporttest"
	"ringo/internal/files"
	"ringo/models"
	"ringo/runtime/tensor"
)

// TestFile: what is written is read back as the same model, and generates.
func TestFile(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"convnet", "gpt", "llama", "resnet20"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			m, inf, ds := random(t, kind, 32)
			o := options()
			q, err := quant.Quantize(cpu(t), inf, ds, o)
			require.NoError(t, err)
			f := reopened(t, m, q, ds)
			if m.Language() {
				decodes(t, f, q)
			}
		})
	}
}

// reopened writes a model and reads it back: it scores the same.
func reopened(t *testing.T, m *models.Model, q *quant.Model, ds *samples) *quant.File {
	t.Helper()
	cfg, err := json.Marshal(m.Config)
	require.NoError(t, err)
	part, err := q.Part("m.safetensors", map[string]string{"ringo.config": string(cfg)})
	require.NoError(t, err)
	dir := t.TempDir()
	require.NoError(t, files.Write(files.OS{}, dir, part))
	path := filepath.Join(dir, "m.safetensors")
	require.True(t, quant.Is(path))
	f, err := quant.Open(path)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, f.Close()) })
	want, err := quant.Evaluate(cpu(t), q.Inference(), ds, 16, 0, nil)
	require.NoError(t, err)
	got, err := quant.Evaluate(cpu(t), f.Quantized.Inference(), ds, 16, 0, nil)
	require.NoError(t, err)
	require.Equal(t, want.Loss, got.Loss)
	return f
}

// decodes compares one step after the other over the cache with the whole sequence at once.
func decodes(t *testing.T, f *quant.File, q *quant.Model) {
	t.Helper()
	tokens := []int32{3, 1, 4, 1, 5}
	all := logits(t, q.Inference(), map[string]*tensor.Tensor{models.Tokens: tensor.Of(tensor.Shape{1, 5}, tokens...)}, 1, 5)
	e, err := f.Generator(cpu(t))
	require.NoError(t, err)
	defer e.Close()
	vocab := f.Model.Vocab
	y := tensor.New(tensor.F32, 1, 1, vocab)
	for i, id := range tokens {
		require.NoError(t, e.Feed(models.Tokens, tensor.Of(tensor.Shape{1, 1}, id).Bytes()))
		require.NoError(t, e.Feed(models.Position, tensor.Of(tensor.Shape{}, int32(i)).Bytes()))
		require.NoError(t, e.Run(0, len(e.Program().Instrs)))
		require.NoError(t, e.Fetch(models.Logits, y.Bytes()))
		want, scale := all.Float64s()[i*vocab:(i+1)*vocab], 0.0
		for _, v := range want {
			scale = max(scale, math.Abs(v))
		}
		for j, v := range y.Float64s() {
			require.InDelta(t, want[j], v, 0.05*scale, "token %d", i)
		}
	}
}

// TestOpenRefuses: a file of another kind, of another model, or with a tensor missing.
func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	open := func(meta map[string]string, items ...safetensors.Item) error {
		path := filepath.Join(t.TempDir(), "m.safetensors")
		var raw bytes.Buffer
		require.NoError(t, safetensors.Write(&raw, meta, items))
		require.NoError(t, os.WriteFile(path, raw.Bytes(), 0o600))
		_, err := quant.Open(path)
		return err
	}
	cfg, err := json.Marshal(exporttest.Configs["mlp"])
	require.NoError(t, err)
	require.ErrorContains(t, open(nil), "not an int8 model of ringo")
	good := map[string]string{"ringo.format": "int8", "ringo.config": string(cfg), "ringo.recipe": `{"format":1,"activations":"u8","layers":[]}`}
	require.ErrorContains(t, open(good), `no tensor "0.weight"`)
	for want, change := range map[string][2]string{
		"ringo.config":   {"ringo.config", "{"},
		"ringo.recipe":   {"ringo.recipe", "{"},
		"format 9":       {"ringo.recipe", `{"format":9}`},
		`activations "q`: {"ringo.recipe", `{"format":1,"activations":"q"}`},
		"no tensor":      {"ringo.recipe", `{"format":1,"activations":"u8","layers":[{"weight":"0.weight"}]}`},
	} {
		meta := map[string]string{}
		for k, v := range good {
			meta[k] = v
		}
		meta[change[0]] = change[1]
		require.ErrorContains(t, open(meta), want)
	}
	_, err = quant.Open(filepath.Join(t.TempDir(), "missing"))
	require.True(t, errors.Is(err, os.ErrNotExist))
	require.False(t, quant.Is("missing"))
}
