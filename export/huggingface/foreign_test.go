package huggingface

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"ringo/export"
	"ringo/export/safetensors"
	"ringo/internal/exporttest"
	"ringo/internal/files"
	"ringo/runtime/tensor"
)

// foreign writes a folder of a gpt as others do: names without a prefix, causal masks, the tied head a second time,
// weights in another type.
func foreign(t *testing.T, s *export.Source, dtype tensor.DType) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "hf")
	require.NoError(t, Save(files.OS{}, dir, s))
	items := []safetensors.Item{
		safetensors.FromTensor("h.0.attn.bias", tensor.New(tensor.Bool, 1, 1, 16, 16)),
		safetensors.FromTensor("h.1.attn.masked_bias", tensor.New(tensor.F32)),
		safetensors.FromTensor("lm_head.weight", tensor.New(tensor.F32, 61, 32)),
	}
	for _, w := range s.Weights() {
		x := tensor.New(tensor.F32, s.Shape(w)...)
		require.NoError(t, s.Tensor(w.Name, x.Bytes()))
		y := tensor.New(dtype, x.Shape...)
		tensor.StoreFloat64(y.Bytes(), dtype, x.Float64s())
		items = append(items, safetensors.FromTensor(strings.TrimPrefix(w.Name, "transformer."), y))
	}
	f, err := os.Create(filepath.Join(dir, modelFile))
	require.NoError(t, err)
	require.NoError(t, safetensors.Write(f, nil, items))
	require.NoError(t, f.Close())
	return dir
}

func TestForeignFolders(t *testing.T) {
	t.Parallel()
	s := exporttest.Source(t, exporttest.Configs["gpt"], 5)
	for dtype, tol := range map[tensor.DType]float64{tensor.F32: 0, tensor.F16: 2e-3, tensor.BF16: 1e-2} {
		f, err := Open(foreign(t, s, dtype))
		require.NoError(t, err)
		require.Nil(t, f.Tokenizer)
		for _, w := range s.Weights() {
			want, got := tensor.New(tensor.F32, s.Shape(w)...), tensor.New(tensor.F32, s.Shape(w)...)
			require.NoError(t, s.Tensor(w.Name, want.Bytes()))
			require.NoError(t, f.Tensor(w.Name, got.Bytes()))
			require.InDeltaSlice(t, want.Float64s(), got.Float64s(), tol, "%v %s", dtype, w.Name)
		}
		require.NoError(t, f.Close())
	}
}

func TestConfigOfAnotherFile(t *testing.T) {
	t.Parallel()
	s := exporttest.Source(t, exporttest.Configs["gpt"], 5)
	dir := foreign(t, s, tensor.F32)
	path := filepath.Join(dir, configFile)
	raw, err := os.ReadFile(path)
	require.NoError(t, err)
	for old, c := range map[string][2]string{
		`"n_layer": 2`:      {`"n_layer": 900000000`, "config.json says 900000000 layers, model.safetensors has"},
		`"n_positions": 16`: {`"n_positions": 17`, `weights of another model: tensor "transformer.wpe.weight" is f32(16,32), gpt needs f32(17,32)`},
	} {
		require.Contains(t, string(raw), old)
		require.NoError(t, os.WriteFile(path, []byte(strings.ReplaceAll(string(raw), old, c[0])), 0o666))
		_, err := Open(dir)
		require.ErrorContains(t, err, c[1])
	}
}
