package huggingface

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"ringo/data"
	"ringo/export"
	"ringo/export/safetensors"
	"ringo/models"
	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

// maxConfig bounds what is read of config.json; a real one has a few kilobytes.
const maxConfig = 1 << 20

// Is reports whether a folder looks like one that transformers reads.
func Is(dir string) bool {
	st, err := os.Stat(filepath.Join(dir, configFile))
	return err == nil && !st.IsDir()
}

// Folder is an open folder. Close it after the last read.
type Folder struct {
	*export.Source
	file *safetensors.File
}

// Close closes the weights.
func (f *Folder) Close() error { return f.file.Close() }

// Open reads a folder of a GPT-2 or Llama model, ringo's own or another's, as a model that can be exported again.
// Weights in half precision are widened. Folders whose weights are cut into several files are refused.
func Open(dir string) (_ *Folder, err error) {
	c, cfg, err := readConfig(filepath.Join(dir, configFile))
	if err != nil {
		return nil, fmt.Errorf("huggingface %s: %w", dir, err)
	}
	m, err := models.New(cfg)
	if err != nil {
		return nil, fmt.Errorf("huggingface %s: config.json: %w", dir, err)
	}
	path := filepath.Join(dir, modelFile)
	if _, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("huggingface %s: %w; weights in another format or in several files are not read", dir, err)
	}
	file, err := safetensors.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, file.Close())
		}
	}()
	if len(file.Entries()) < m.Layers { // before a graph of so many layers is built
		return nil, fmt.Errorf("huggingface %s: config.json says %d layers, %s has %d tensors", dir, m.Layers, modelFile, len(file.Entries()))
	}
	t := &tensors{file: file, cfg: cfg, names: map[string]string{}, heads: map[string]int{}}
	if err := t.match(m); err != nil {
		return nil, err
	}
	s, err := export.NewSource(m, t)
	if err != nil {
		return nil, fmt.Errorf("huggingface %s: %w", dir, err)
	}
	if x := c.Ringo; x != nil {
		s.Labels, s.Image, s.Table, s.Step, s.SHA256 = x.Labels, x.Image, x.Table, x.Step, x.SHA256
	}
	s.Tokenizer = openTokenizer(dir, c)
	return &Folder{s, file}, nil
}

func readConfig(path string) (*Config, models.Config, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, models.Config{}, err
	}
	raw, err := io.ReadAll(io.LimitReader(f, maxConfig))
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, models.Config{}, err
	}
	return parseConfig(raw)
}

// openTokenizer returns the tokenizer that the folder's ringo names, or GPT-2's where its files lie there; nil
// where there is neither, as weights can be used without.
func openTokenizer(dir string, c *Config) data.Tokenizer {
	if c.ModelType == typeGPT2 {
		if t, err := data.OpenTokenizer(data.TokenizerSpec{Name: "gpt2", Path: dir}); err == nil && t.Vocab() == c.VocabSize {
			return t
		}
	}
	if c.Ringo != nil && c.Ringo.Tokenizer != nil {
		if t, err := data.OpenTokenizer(*c.Ringo.Tokenizer); err == nil {
			return t
		}
	}
	return nil
}

// tensors shows a file as the model names and lays out its weights.
type tensors struct {
	file    *safetensors.File
	cfg     models.Config
	entries []safetensors.Entry
	names   map[string]string // model's name to the file's
	heads   map[string]int    // weights to reorder for interleaved rotary pairs
}

// match pairs the file's tensors with the model's weights. GPT-2 files of the first generation lack the prefix
// "transformer." and hold causal masks; a tied head may be there a second time.
func (t *tensors) match(m *models.Model) error {
	g, err := graph.Build(func(g *graph.Graph) { err := m.Forward(g, 1, max(m.Context, 1)); _ = err })
	if err != nil {
		return err
	}
	for _, w := range m.Weights(g) {
		if m.RopeInterleaved {
			t.heads[w.Name] = Rotated(m.Config, w)
		}
	}
	tied := m.Name == "gpt" || m.Tied
	for _, e := range t.file.Entries() {
		inner := e.Name
		if m.Name == "gpt" {
			if strings.HasSuffix(inner, ".attn.bias") || strings.HasSuffix(inner, ".attn.masked_bias") {
				continue
			}
			if !strings.HasPrefix(inner, "transformer.") && inner != "lm_head.weight" {
				inner = "transformer." + inner
			}
		}
		if (tied && inner == "lm_head.weight") || strings.HasSuffix(inner, ".rotary_emb.inv_freq") {
			continue
		}
		t.names[inner] = e.Name
		e.Name = inner
		if e.DType == tensor.F16 || e.DType == tensor.BF16 {
			e.DType = tensor.F32
			e.Bytes *= 2
		}
		t.entries = append(t.entries, e)
	}
	return nil
}

var _ export.TensorFile = (*tensors)(nil)

// Entries lists the weights under the model's names, as f32.
func (t *tensors) Entries() []safetensors.Entry { return t.entries }

// ReadInto reads a weight by the model's name.
func (t *tensors) ReadInto(name string, dst []byte) error {
	e, _ := t.file.Lookup(t.names[name])
	if e.DType == tensor.F32 || int64(len(dst)) != 2*e.Bytes {
		if err := t.file.ReadInto(t.names[name], dst); err != nil {
			return err
		}
	} else if err := t.widen(e, dst); err != nil {
		return err
	}
	if heads := t.heads[name]; heads > 0 {
		Halves(dst, heads, len(dst)/e.Shape[0], true)
	}
	return nil
}

// widen reads half-precision elements into the upper half of dst and spreads them from its start.
func (t *tensors) widen(e safetensors.Entry, dst []byte) error {
	half := dst[len(dst)/2:]
	if err := t.file.ReadInto(e.Name, half); err != nil {
		return err
	}
	convert := tensor.F32FromF16
	if e.DType == tensor.BF16 {
		convert = tensor.F32FromBF16
	}
	out := tensor.View[float32](dst)
	for i, h := range tensor.View[uint16](half) { // element i is read before anything at or beyond it is written
		out[i] = convert(h)
	}
	return nil
}
