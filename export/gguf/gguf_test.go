package gguf

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	parser "github.com/gpustack/gguf-parser-go"
	"github.com/stretchr/testify/require"

	"ringo/data"
	"ringo/export"
	"ringo/export/safetensors"
	"ringo/internal/exporttest"
	"ringo/internal/files"
	"ringo/models"
	"ringo/runtime/tensor"
)

// TestParser reads what is written with another project's reader.
func TestParser(t *testing.T) {
	t.Parallel()
	for name, dtype := range Types {
		for _, kind := range []string{"gpt", "llama", "llama-interleaved"} {
			t.Run(kind+" "+name, func(t *testing.T) {
				t.Parallel()
				s := exporttest.Source(t, exporttest.Configs[kind], 5)
				s.Tokenizer = exporttest.Chars(t, s.Model.Vocab-3) // the model has room for more
				path := filepath.Join(t.TempDir(), "m.gguf")
				require.NoError(t, Save(files.OS{}, path, s, dtype))
				f, err := parser.ParseGGUFFile(path)
				require.NoError(t, err)
				st, err := os.Stat(path)
				require.NoError(t, err)
				require.EqualValues(t, st.Size(), f.Size)
				require.EqualValues(t, version, f.Header.Version)
				a := f.Architecture()
				require.EqualValues(t, s.Model.Layers, a.BlockCount)
				require.EqualValues(t, s.Model.Context, a.MaximumContextLength)
				require.EqualValues(t, s.Model.Heads, a.AttentionHeadCount)
				require.EqualValues(t, s.Model.Vocab, f.Tokenizer().TokensLength)
				require.Len(t, f.TensorInfos, len(s.Weights()))
				checkTensors(t, path, f, s, dtype)
			})
		}
	}
}

// checkTensors holds the contents of every tensor to the weights: bit for bit in f32, within half a step else.
func checkTensors(t *testing.T, path string, f *parser.GGUFFile, s *export.Source, dtype Type) {
	t.Helper()
	file, err := os.ReadFile(path)
	require.NoError(t, err)
	c := &converter{s: s}
	for i, w := range s.Weights() {
		info := f.TensorInfos[i]
		r, err := c.record(w, dtype)
		require.NoError(t, err)
		require.Equal(t, r.name, info.Name)
		require.EqualValues(t, r.dtype, info.Type)
		for j, d := range r.shape {
			require.EqualValues(t, d, info.Dimensions[len(r.shape)-1-j])
		}
		raw := file[f.TensorDataStartOffset+int64(info.Offset):][:r.bytes()]
		flip := len(r.shape) == 2 && !r.shape.Equal(s.Shape(w)) || s.Model.InOut() && r.shape.Equal(s.Shape(w)) && len(r.shape) == 2 && r.shape[0] == r.shape[1]
		want, err := c.read(w, r.shape, flip)
		require.NoError(t, err)
		got := decode(r.dtype, raw, len(want))
		for k, x := range want {
			step := 0.0
			switch r.dtype {
			case F16:
				step = math.Abs(float64(x))/2048 + 1e-7
			case Q8_0:
				top := 0.0
				for _, v := range want[k/block*block:][:block] {
					top = max(top, math.Abs(float64(v)))
				}
				step = top/127/2 + math.Abs(float64(x))/2048 // rounding of q, and of d to f16
			}
			require.InDelta(t, x, got[k], step, "%s element %d", w.Name, k)
		}
	}
}

func decode(t Type, raw []byte, n int) []float32 {
	out := make([]float32, 0, n)
	half := func(b []byte) float32 { return tensor.F32FromF16(uint16(b[0]) | uint16(b[1])<<8) }
	switch t {
	case F32:
		t := tensor.AlignedBytes(len(raw))
		copy(t, raw)
		return tensor.View[float32](t)
	case F16:
		for ; len(raw) > 0; raw = raw[2:] {
			out = append(out, half(raw))
		}
	case Q8_0:
		for ; len(raw) > 0; raw = raw[2+block:] {
			for _, q := range raw[2 : 2+block] {
				out = append(out, half(raw)*float32(int8(q)))
			}
		}
	}
	return out
}

// stories is the 260K-parameter llama of llama2.c's author, trained on TinyStories.
func stories(t *testing.T) *export.Source {
	t.Helper()
	raw, err := os.ReadFile(exporttest.Shared(t, "stories260k/stories260K.bin"))
	require.NoError(t, err)
	m, w, err := models.ReadLlama2C(bytes.NewReader(raw), int64(len(raw)))
	require.NoError(t, err)
	s := exporttest.SourceOf(t, m, w)
	s.Tokenizer, err = data.OpenTokenizer(data.TokenizerSpec{Name: "llama2c", Path: exporttest.Shared(t, "stories260k/tok512.bin")})
	require.NoError(t, err)
	return s
}

// TestLlamaCpp lets llama.cpp itself continue a text, greedily, from files of every type, and compares with ringo's
// reference: of the real model its published text, of random ones the first tokens that ringo finds likeliest.
func TestLlamaCpp(t *testing.T) {
	t.Parallel()
	python := exporttest.Python("xllamacpp")
	if python == "" {
		t.Skip("no Python with xllamacpp (llama.cpp): install it, or name the interpreter with " + exporttest.PythonVar)
	}
	type task struct {
		Path, Prompt, Want string
		Tokens             int // to write
		Prompted           int // tokens of the prompt, with the mark of a start
	}
	dir := t.TempDir()
	var tasks []task
	add := func(s *export.Source, name string, dtype Type, prompt, want string, n int) {
		path := filepath.Join(dir, name+".gguf")
		require.NoError(t, Save(files.OS{}, path, s, dtype))
		ids, err := s.Tokenizer.Encode(prompt)
		require.NoError(t, err)
		if s.Tokenizer.Name() == "llama2c" {
			ids = append(ids, 1)
		}
		tasks = append(tasks, task{path, prompt, want, n, len(ids)})
	}
	for name, dtype := range Types {
		add(stories(t), "stories-"+name, dtype, "Once upon a time", expected(t), 40)
	}
	for _, kind := range []string{"gpt", "llama"} {
		cfg := exporttest.Configs[kind]
		cfg.Context = 64
		s := exporttest.Source(t, cfg, 9)
		s.Tokenizer = exporttest.Chars(t, cfg.Vocab)
		prompt := "AB\n日é C"
		add(s, kind, F32, prompt, greedy(t, s, prompt, 12), 12)
	}
	bpe := exporttest.Configs["gpt"]
	bpe.Context, bpe.Vocab = 64, 50_304 // beyond the tokenizer's 50,257
	s := exporttest.Source(t, bpe, 9)
	var err error
	s.Tokenizer, err = data.OpenTokenizer(data.TokenizerSpec{Name: "gpt2", Path: filepath.Dir(exporttest.Shared(t, "gpt2-bpe/encoder.json"))})
	require.NoError(t, err)
	const text = "It's 12 o'clock —\n\tnaïve  日本 ok! "
	add(s, "gpt2", F32, text, greedy(t, s, text, 6), 6)
	in, err := json.Marshal(tasks)
	require.NoError(t, err)
	file := filepath.Join(dir, "tasks.json")
	require.NoError(t, os.WriteFile(file, in, 0o666))
	out, err := exec.Command(python, "testdata/generate.py", file).CombinedOutput()
	require.NoError(t, err, "%s", out)
}

// expected is the start of what the published model writes greedily after "Once upon a time".
func expected(t *testing.T) string {
	t.Helper()
	raw, err := os.ReadFile(exporttest.Shared(t, "stories260k/expected_greedy.txt"))
	require.NoError(t, err)
	return string(raw[len("Once upon a time"):][:60])
}

// greedy continues a prompt with ringo's own kernels, always by the likeliest token.
func greedy(t *testing.T, s *export.Source, prompt string, n int) string {
	t.Helper()
	ids, err := s.Tokenizer.Encode(prompt)
	require.NoError(t, err)
	start := len(ids)
	for range n {
		logits := tensor.Data[float32](exporttest.Logits(t, s.Model, s, ids))
		last := logits[len(logits)-s.Model.Vocab:]
		best := 0
		for i, v := range last {
			if v > last[best] {
				best = i
			}
		}
		ids = append(ids, int32(best))
	}
	return s.Tokenizer.Decode(ids[start:])
}

// TestQuantizer compares blocks with those of ggml's own Python package, bit for bit.
func TestQuantizer(t *testing.T) {
	t.Parallel()
	python := exporttest.Python("gguf")
	if python == "" {
		t.Skip("no Python with gguf: install it, or name the interpreter with " + exporttest.PythonVar)
	}
	x := make([]float32, 4096*block)
	p := tensor.NewPhilox(3, 3)
	p.FillNormal(x, 0, 1)
	raw, err := F32.convert(nil, x)
	require.NoError(t, err)
	blocks, err := Q8_0.convert(nil, x)
	require.NoError(t, err)
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "x"), raw, 0o666))
	out, err := exec.Command(python, "-c", `
import sys, numpy, gguf
x = numpy.fromfile(sys.argv[1] + "/x", numpy.float32).reshape(-1, 32)
gguf.quants.quantize(x, gguf.GGMLQuantizationType.Q8_0).tofile(sys.argv[1] + "/q")`, dir).CombinedOutput()
	require.NoError(t, err, "%s", out)
	want, err := os.ReadFile(filepath.Join(dir, "q"))
	require.NoError(t, err)
	require.True(t, bytes.Equal(want, blocks))
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "m.gguf")
	require.ErrorContains(t, Save(files.OS{}, path, exporttest.Source(t, exporttest.Configs["mlp"], 1), F32), "model mlp has no form that llama.cpp runs")
	s := exporttest.Source(t, exporttest.Configs["gpt"], 1)
	require.ErrorContains(t, Save(files.OS{}, path, s, F32), "the model has no tokenizer")
	s.Tokenizer = exporttest.Chars(t, s.Model.Vocab+1)
	require.ErrorContains(t, Save(files.OS{}, path, s, F32), "tokenizer char of 62 pieces has no form for a model of 61")
	exporttest.Empty(t, filepath.Dir(path))
}

func TestNumbersTooLarge(t *testing.T) {
	t.Parallel()
	_, err := F16.convert(nil, []float32{1, 65520})
	require.ErrorContains(t, err, "element 1 is 65520, more than f16 can hold: export f32")
	_, err = Q8_0.convert(nil, append(make([]float32, 63), 9e6))
	require.ErrorContains(t, err, "element 32 and those behind it: magnitudes up to 9e+06")
	ok, err := F16.convert(nil, []float32{65519})
	require.NoError(t, err)
	require.Equal(t, []byte{0xff, 0x7b}, ok) // 65504, the largest
	zero, err := Q8_0.convert(nil, make([]float32, 32))
	require.NoError(t, err)
	require.Equal(t, make([]byte, 34), zero)
}

func TestNothingHalfWritten(t *testing.T) {
	t.Parallel()
	s := exporttest.Source(t, exporttest.Configs["llama"], 5)
	s.Tokenizer = exporttest.Chars(t, s.Model.Vocab)
	dir := t.TempDir()
	path := filepath.Join(dir, "m.gguf")
	err := Save(&exporttest.FullDisk{Left: 20_000}, path, s, F16)
	require.ErrorIs(t, err, exporttest.ErrDiskFull)
	require.ErrorContains(t, err, "nothing was left behind")
	exporttest.Empty(t, dir)
	require.NoError(t, os.WriteFile(path, []byte("old"), 0o666))
	require.Error(t, Save(&exporttest.FullDisk{Left: 20_000}, path, s, F16))
	old, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "old", string(old)) // what was there stays
	require.ErrorContains(t, Save(files.OS{}, dir, s, F16), "is a folder, expected a file's name")
}

func Example() {
	var b bytes.Buffer
	err := write(&b, []pair{{"general.architecture", "llama"}}, []record{{name: "x", shape: tensor.Shape{1, 2}, dtype: F32, write: func(w io.Writer) error {
		raw, err := F32.convert(nil, []float32{1, 2})
		if err == nil {
			_, err = w.Write(raw)
		}
		return err
	}}})
	fmt.Printf("%s v%d, %d bytes, %v\n", b.Bytes()[:4], b.Bytes()[4], b.Len(), err)
	// Output: GGUF v3, 160 bytes, <nil>
}

var _ export.TensorFile = (*safetensors.File)(nil)
