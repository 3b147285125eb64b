package huggingface

import (
	"crypto/sha256"
	"encoding/json"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"ringo/data"
	"ringo/internal/exporttest"
	"ringo/internal/files"
	"ringo/models"
	"ringo/runtime/tensor"
)

// TestRoundTrip writes every kind of model and reads it back: every weight has the same bits.
func TestRoundTrip(t *testing.T) {
	t.Parallel()
	for name, cfg := range exporttest.Configs {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := exporttest.Source(t, cfg, 5)
			if s.Model.Language() {
				s.Tokenizer = exporttest.Chars(t, s.Model.Vocab)
			}
			dir := filepath.Join(t.TempDir(), "hf")
			require.NoError(t, Save(files.OS{}, dir, s))
			back, err := Open(dir)
			require.NoError(t, err)
			require.Equal(t, s.Model.Config, back.Model.Config)
			for _, w := range s.Weights() {
				want, got := make([]byte, 4*s.Shape(w).Size()), make([]byte, 4*s.Shape(w).Size())
				require.NoError(t, s.Tensor(w.Name, want))
				require.NoError(t, back.Tensor(w.Name, got))
				require.Equal(t, want, got, w.Name)
			}
			if s.Tokenizer != nil {
				require.Equal(t, s.Tokenizer.Spec(), back.Tokenizer.Spec())
			}
			require.NoError(t, back.Close())
		})
	}
}

// golden holds, per model, the weights' hash and the last token's logits as transformers computes them.
const golden = "testdata/golden.json"

var update = flag.Bool("update", false, "let TestTransformers write "+golden)

// TestGolden holds the files and ringo's logits to what transformers made of the same files.
func TestGolden(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile(golden)
	require.NoError(t, err)
	var want map[string]struct {
		SHA256 string
		Tokens []int32
		Last   []float32
	}
	require.NoError(t, json.Unmarshal(raw, &want))
	for name, g := range want {
		s := exporttest.Source(t, exporttest.Configs[name], 5)
		dir := filepath.Join(t.TempDir(), name)
		require.NoError(t, Save(files.OS{}, dir, s))
		file, err := os.ReadFile(filepath.Join(dir, modelFile))
		require.NoError(t, err)
		require.Equal(t, g.SHA256, fmt.Sprintf("%x", sha256.Sum256(file)), name)
		logits := tensor.Data[float32](exporttest.Logits(t, s.Model, s, g.Tokens))
		require.InDeltaSlice(t, g.Last, logits[len(logits)-s.Model.Vocab:], 2e-5, name)
	}
}

// TestTransformers loads the folders with transformers and compares logits.
func TestTransformers(t *testing.T) {
	t.Parallel()
	python := exporttest.Python("transformers")
	if python == "" {
		t.Skip("no Python with transformers: install it, or name the interpreter with " + exporttest.PythonVar)
	}
	type task struct {
		Dir    string    `json:"dir"`
		Tokens []int32   `json:"tokens"`
		Logits []float32 `json:"logits"`
		Text   string    `json:"text"`
		IDs    []int32   `json:"ids"`
	}
	var tasks []task
	for _, name := range []string{"gpt", "llama", "llama-interleaved"} {
		s := exporttest.Source(t, exporttest.Configs[name], 5)
		s.Tokenizer = exporttest.Chars(t, s.Model.Vocab)
		dir := filepath.Join(t.TempDir(), name)
		require.NoError(t, Save(files.OS{}, dir, s))
		in, logits := exporttest.Run(t, s.Model, s, 1, 11)
		x := task{Dir: dir, Tokens: tensor.Data[int32](in[models.Tokens]), Logits: tensor.Data[float32](logits), Text: s.Tokenizer.Decode([]int32{5, 1, 3, 0, 2})}
		x.IDs, _ = s.Tokenizer.Encode(x.Text)
		tasks = append(tasks, x)
	}
	in, err := json.Marshal(tasks)
	require.NoError(t, err)
	script := filepath.Join(t.TempDir(), "tasks.json")
	require.NoError(t, os.WriteFile(script, in, 0o666))
	args := []string{"testdata/logits.py", script}
	if *update {
		args = append(args, golden)
	}
	out, err := exec.Command(python, args...).CombinedOutput()
	require.NoError(t, err, "%s", out)
}

// TestTokenizers compares ids and text with Hugging Face's tokenizers library.
func TestTokenizers(t *testing.T) {
	t.Parallel()
	python := exporttest.Python("tokenizers")
	if python == "" {
		t.Skip("no Python with tokenizers: install it, or name the interpreter with " + exporttest.PythonVar)
	}
	const text = "Once upon a time, there was a cat.  It's 12 o'clock —\n\tnaïve 日本 ok! "
	type task struct {
		File, Text string
		IDs        []int32
	}
	var tasks []task
	for _, spec := range []data.TokenizerSpec{{Name: "byte"}, {Name: "char", Chars: text}, {Name: "gpt2", Path: filepath.Dir(exporttest.Shared(t, "gpt2-bpe/encoder.json"))},
		{Name: "llama2c", Path: exporttest.Shared(t, "stories260k/tok512.bin")}} {
		tok, err := data.OpenTokenizer(spec)
		require.NoError(t, err)
		parts, err := tokenizerFiles(tok, 64)
		require.NoError(t, err)
		dir := filepath.Join(t.TempDir(), spec.Name)
		require.NoError(t, files.WriteFolder(files.OS{}, dir, parts))
		x := task{File: filepath.Join(dir, "tokenizer.json"), Text: text}
		x.IDs, err = tok.Encode(text)
		require.NoError(t, err)
		require.Equal(t, text, tok.Decode(x.IDs))
		tasks = append(tasks, x)
	}
	in, err := json.Marshal(tasks)
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "tasks.json")
	require.NoError(t, os.WriteFile(file, in, 0o666))
	out, err := exec.Command(python, "testdata/ids.py", file).CombinedOutput()
	require.NoError(t, err, "%s", out)
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	open := func(config string) error {
		dir := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(dir, configFile), []byte(config), 0o666))
		_, err := Open(dir)
		return err
	}
	for config, want := range map[string]string{
		`{`:                      "unexpected end of JSON input",
		`{"model_type": "bert"}`: `model_type is "bert", expected gpt2, llama or ringo`,
		`{"model_type": "gpt2", "activation_function": "relu"}`:                                             `activation_function is "relu", expected gelu_new`,
		`{"model_type": "llama", "attention_bias": true}`:                                                   "expected a model without biases",
		`{"model_type": "llama", "rope_parameters": {"rope_type": "yarn"}}`:                                 "expected plain ones",
		`{"model_type": "gpt2", "n_layer": 1, "n_head": 3, "n_embd": 4, "n_positions": 8, "vocab_size": 9}`: "model.heads: found 3, expected a divisor of width 4",
		`{"model_type": "gpt2", "n_layer": 1, "n_head": 2, "n_embd": 4, "n_positions": 8, "vocab_size": 9}`: "model.safetensors",
		`{"model_type": "ringo"}`: `no key "ringo"`,
		`{"model_type": "gpt2", "n_layer": 1, "n_head": 2, "n_embd": 4, "n_positions": 8, "vocab_size": 9, "n_inner": 7}`:      "n_inner is 7, expected 4·n_embd = 16",
		`{"model_type": "gpt2", "n_layer": 1, "n_head": 2, "n_embd": 4, "n_positions": 8, "tie_word_embeddings": false}`:       "expected a head tied",
		`{"model_type": "llama", "hidden_size": 8, "num_attention_heads": 2, "head_dim": 16, "rope_scaling": null}`:            "head_dim is 16, expected hidden_size/num_attention_heads = 4",
		`{"model_type": "llama", "rope_scaling": {"factor": 2.0}, "hidden_size": 8, "num_attention_heads": 2, "head_dim": 4 }`: "rotary embeddings are scaled",
		`{"model_type": "llama", "hidden_act": "gelu"}`:                                                                        `hidden_act is "gelu", expected silu`,
	} {
		require.ErrorContains(t, open(config), want, config)
	}
}

// TestNothingHalfWritten fills the disk at every point of a save.
func TestNothingHalfWritten(t *testing.T) {
	t.Parallel()
	s := exporttest.Source(t, exporttest.Configs["gpt"], 5)
	s.Tokenizer = exporttest.Chars(t, s.Model.Vocab)
	for left := 0; left < 200_000; left += 17_001 {
		parent := t.TempDir()
		err := Save(&exporttest.FullDisk{Left: left}, filepath.Join(parent, "hf"), s)
		if err == nil {
			require.Greater(t, left, 100_000)
			return
		}
		require.ErrorIs(t, err, exporttest.ErrDiskFull)
		require.NotContains(t, err.Error(), ".tmp-")
		exporttest.Empty(t, parent)
	}
	t.Fatal("the model never fitted")
}

func TestFolderInTheWay(t *testing.T) {
	t.Parallel()
	s := exporttest.Source(t, exporttest.Configs["mlp"], 5)
	dir := t.TempDir()
	require.NoError(t, Save(files.OS{}, dir, s)) // an empty folder is fine
	require.ErrorContains(t, Save(files.OS{}, dir, s), "is not empty: remove it or choose another one")
	file := filepath.Join(dir, configFile)
	require.ErrorContains(t, Save(files.OS{}, file, s), "is a file, expected the name of a new folder")
	if os.Getuid() != 0 {
		locked := t.TempDir()
		require.NoError(t, os.Chmod(locked, 0o555))
		require.ErrorIs(t, Save(files.OS{}, filepath.Join(locked, "hf"), s), fs.ErrPermission)
	}
}

// TestHalves reorders rows and brings them back.
func TestHalves(t *testing.T) {
	t.Parallel()
	raw := make([]byte, 2*8*3) // two heads of 8 rows of 3 bytes
	for i := range raw {
		raw[i] = byte(i)
	}
	was := string(raw)
	Halves(raw, 2, 3, false)
	require.Equal(t, []byte{0, 1, 2, 6, 7, 8, 12, 13, 14, 18, 19, 20, 3, 4, 5}, raw[:15])
	Halves(raw, 2, 3, true)
	require.Equal(t, was, string(raw))
}

func FuzzConfig(f *testing.F) {
	f.Add([]byte(`{"model_type": "gpt2", "n_layer": 1, "n_head": 2, "n_embd": 4, "n_positions": 8, "vocab_size": 9}`))
	f.Add([]byte(`{"model_type": "llama", "hidden_size": 8, "num_attention_heads": 2, "head_dim": 4, "rope_parameters": {"rope_theta": 1e4}}`))
	f.Add([]byte(`{"model_type": "ringo", "ringo": {"model": {"Name": "mlp"}}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if _, cfg, err := parseConfig(raw); err == nil {
			_ = cfg.Validate()
		}
	})
}

func Example() {
	c, m, err := parseConfig([]byte(`{"model_type": "gpt2", "n_layer": 12, "n_head": 12, "n_embd": 768, "n_positions": 1024, "vocab_size": 50257}`))
	fmt.Println(c.ModelType, m.Name, m.Width, err)
	// Output: gpt2 gpt 768 <nil>
}
