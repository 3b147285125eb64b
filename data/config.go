package data

import (
	"fmt"
	"slices"
	"strings"
)

// Config is the data section of a run's configuration. The keys a source reads are listed in its row of
// the table in source.go; `context` is filled in from the model when it is zero.
type Config struct {
	Source string  `yaml:"source"`          // a name of Sources()
	Path   string  `yaml:"path,omitempty"`  // file or folder, looked up by Find
	Test   string  `yaml:"test,omitempty"`  // file or folder of the validation set; empty: what the source has, else a split
	Split  float64 `yaml:"split,omitempty"` // part that trains where there is no test set, in (0,1); default 0.9
	Limit  int     `yaml:"limit,omitempty"` // use only the first so many training samples (text: tokens); 0: all

	// text, go-stdlib, tokens, synthetic
	Tokenizer     string `yaml:"tokenizer,omitempty"`      // byte, char (default), gpt2, llama2c
	TokenizerPath string `yaml:"tokenizer_path,omitempty"` // gpt2: folder of encoder.json and vocab.bpe; llama2c: the file
	Context       int    `yaml:"context,omitempty"`        // tokens in a window
	Sampling      string `yaml:"sampling,omitempty"`       // random, epoch or sequential; default: random for text, else epoch
	Vocab         int    `yaml:"vocab,omitempty"`          // tokens, synthetic: number of ids
	DType         string `yaml:"dtype,omitempty"`          // tokens: uint16 (default) or uint32, for files without a header

	// images
	Augment []string  `yaml:"augment,omitempty"` // crop:PAD, flip, cutout:SIZE
	Mean    []float64 `yaml:"mean,omitempty"`    // of pixels in 0…1, per channel; default: measured on the training set
	Std     []float64 `yaml:"std,omitempty"`

	// csv
	Columns    []string `yaml:"columns,omitempty"`    // names, each with optional :numeric, :category or :ignore; empty: the file's first line
	Target     string   `yaml:"target,omitempty"`     // name of the column to predict; default the last
	Categories string   `yaml:"categories,omitempty"` // onehot (default) or embed

	// synthetic
	Samples int    `yaml:"samples,omitempty"` // default 1024
	Classes int    `yaml:"classes,omitempty"` // images: number of classes, default 10
	Shape   []int  `yaml:"shape,omitempty"`   // images: channels, height, width; empty: tokens
	Seed    uint64 `yaml:"seed,omitempty"`    // of the samples' contents
}

// withDefaults fills in what the configuration leaves out.
func (c Config) withDefaults() Config {
	if c.Split == 0 {
		c.Split = 0.9
	}
	if c.Tokenizer == "" && (c.Source == "text" || c.Source == "go-stdlib") {
		c.Tokenizer = "char"
	}
	if c.Categories == "" {
		c.Categories = "onehot"
	}
	if c.DType == "" {
		c.DType = "uint16"
	}
	if c.Source == "synthetic" {
		if c.Samples == 0 {
			c.Samples = 1024
		}
		if c.Classes == 0 {
			c.Classes = 10
		}
	}
	return c
}

// Validate checks every key by itself and returns one sentence about the first that cannot be.
func (c Config) Validate() error {
	c = c.withDefaults()
	src := sourceNamed(c.Source)
	if src == nil {
		return fmt.Errorf("data.source %q: unknown, expected one of %s", c.Source, strings.Join(Sources(), ", "))
	}
	if src.needsPath && c.Path == "" {
		return fmt.Errorf("data.path: missing, source %s needs a file or folder", c.Source)
	}
	if !(c.Split > 0 && c.Split < 1) {
		return fmt.Errorf("data.split %v: must lie between 0 and 1", c.Split)
	}
	text := src.text || (c.Source == "synthetic" && len(c.Shape) == 0)
	if text && c.Context < 1 {
		return fmt.Errorf("data.context %d: must be at least 1 (it is normally taken from model.context)", c.Context)
	}
	for _, k := range []struct {
		key   string
		value int
	}{{"limit", c.Limit}, {"vocab", c.Vocab}, {"samples", c.Samples}, {"classes", c.Classes}} {
		if k.value < 0 {
			return fmt.Errorf("data.%s %d: must not be negative", k.key, k.value)
		}
	}
	for _, k := range []struct {
		key, value string
		allowed    []string
	}{
		{"tokenizer", c.Tokenizer, append([]string{""}, Tokenizers()...)},
		{"sampling", c.Sampling, []string{"", SampleRandom, SampleEpoch, SampleSequential}},
		{"categories", c.Categories, []string{"onehot", "embed"}},
		{"dtype", c.DType, []string{"uint16", "uint32"}},
	} {
		if !slices.Contains(k.allowed, k.value) {
			return fmt.Errorf("data.%s %q: unknown, expected one of %s", k.key, k.value,
				strings.TrimPrefix(strings.Join(k.allowed, ", "), ", "))
		}
	}
	if c.Source == "synthetic" {
		if text && c.Vocab < 1 {
			return fmt.Errorf("data.vocab: missing, synthetic tokens need it (or give data.shape for images)")
		}
		if len(c.Shape) != 0 && (len(c.Shape) != 3 || slices.Min(c.Shape) < 1) {
			return fmt.Errorf("data.shape %v: expected three positive sizes, channels, height, width", c.Shape)
		}
	}
	for i, s := range c.Std {
		if !(s > 0) {
			return fmt.Errorf("data.std[%d] %v: must be positive", i, s)
		}
	}
	_, err := parseAugment(c.Augment)
	return err
}
