package models

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"ringo/runtime/tensor"
)

// Config chooses a model and its sizes. Zero means "the model's default" or, for Vocab, Classes, Input and
// Categories, "what the data set says". A key that the model does not use is refused.
type Config struct {
	Name string `yaml:"name"` // a row of the registry; see Names

	Layers  int `yaml:"layers,omitempty"`   // blocks of gpt and llama; weighted layers of resnet (20, 32, 44, 56, 110; 18, 34)
	Heads   int `yaml:"heads,omitempty"`    // attention heads
	KVHeads int `yaml:"kv_heads,omitempty"` // key and value heads, a divisor of heads; default heads
	Width   int `yaml:"width,omitempty"`    // channels of gpt and llama; of resnet's first stage
	Context int `yaml:"context,omitempty"`  // tokens a language model sees at once
	Vocab   int `yaml:"vocab,omitempty"`    // token ids; default from the data set
	Hidden  int `yaml:"hidden,omitempty"`   // width of llama's feed-forward layer or of convnet's dense layer

	Sizes    []int   `yaml:"sizes,omitempty"`    // hidden layers of mlp
	Channels []int   `yaml:"channels,omitempty"` // 3×3 convolutions of convnet
	Dropout  float64 `yaml:"dropout,omitempty"`  // probability of zeroing an activation in training, [0,1)

	Classes    int          `yaml:"classes,omitempty"`    // labels of a classifier; default from the data set
	Input      tensor.Shape `yaml:"input,omitempty"`      // one sample: (C,H,W) or (features); default from the data set
	Categories []int        `yaml:"categories,omitempty"` // values of each embedded category column; default from the data set
	Embed      int          `yaml:"embed,omitempty"`      // width of one category's embedding

	NormEps         float64 `yaml:"norm_eps,omitempty"`         // added to variances; default 1e-5
	RopeBase        float64 `yaml:"rope_base,omitempty"`        // θ of rotary embeddings; default 10,000
	RopeInterleaved bool    `yaml:"rope_interleaved,omitempty"` // rotate pairs (2i, 2i+1) as llama2.c, not (i, i+D/2)
	Tied            bool    `yaml:"tied,omitempty"`             // llama's head shares the token embedding; gpt's always does
}

// Validate checks what can be checked before the data set is known: the name, that every key set is one the
// model uses, and each value's range. An error names the key, what was found and what was expected.
func (c Config) Validate() error {
	a, err := find(c.Name)
	if err != nil {
		return err
	}
	return c.check(a, false)
}

// check completes c with a's defaults and tests it; strict also requires what the data set fills in.
func (c *Config) check(a *architecture, strict bool) error {
	if err := c.onlyKeys(a); err != nil {
		return err
	}
	a.defaults(c)
	if c.Dropout < 0 || c.Dropout >= 1 {
		return bad("dropout", c.Dropout, "a probability of [0,1)")
	}
	if c.NormEps < 0 {
		return bad("norm_eps", c.NormEps, "a positive number")
	}
	if err := c.checkData(a, strict); err != nil {
		return err
	}
	return a.check(c)
}

// checkData tests the keys that usually come from the data set.
func (c *Config) checkData(a *architecture, strict bool) error {
	if a.language {
		if c.Vocab < 0 || c.Vocab == 1 || (strict && c.Vocab == 0) {
			return bad("vocab", c.Vocab, "at least 2 token ids (left out: the data set's)")
		}
		return atLeast(1, key{"context", c.Context})
	}
	if c.Classes < 0 || c.Classes == 1 || (strict && c.Classes == 0) {
		return bad("classes", c.Classes, "at least 2 (left out: the data set's)")
	}
	if strict && len(c.Input) == 0 && len(c.Categories) == 0 {
		return bad("input", c.Input, "the shape of one sample, (C,H,W) or (features) (left out: the data set's)")
	}
	if len(c.Input) > 0 && (len(c.Input) > 3 || len(c.Input) == 2 || slices.Min(c.Input) < 1) {
		return bad("input", c.Input, "(C,H,W) or (features), all positive")
	}
	for _, n := range c.Categories {
		if n < 1 {
			return bad("categories", c.Categories, "positive numbers of values")
		}
	}
	return nil
}

// onlyKeys refuses a key that is set although the model does not use it.
func (c *Config) onlyKeys(a *architecture) error {
	v := reflect.ValueOf(*c)
	allowed := strings.Fields(a.keys)
	for i := range v.NumField() {
		name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("yaml"), ",")
		if name != "name" && !v.Field(i).IsZero() && !slices.Contains(allowed, name) {
			return bad(name, v.Field(i).Interface(), fmt.Sprintf("no such key for %s, which takes %s", c.Name, strings.Join(allowed, ", ")))
		}
	}
	return nil
}

func bad(key string, found any, expected string) error {
	return fmt.Errorf("model.%s: found %v, expected %s", key, found, expected)
}

// key is a configuration key and its value.
type key struct {
	name  string
	value int
}

func atLeast(low int, keys ...key) error {
	for _, k := range keys {
		if k.value < low {
			return bad(k.name, k.value, fmt.Sprintf("at least %d", low))
		}
	}
	return nil
}

// checkHeads tests what gpt and llama share: positive sizes and heads that divide the width.
func (c *Config) checkHeads() error {
	if err := atLeast(1, key{"layers", c.Layers}, key{"heads", c.Heads}, key{"width", c.Width}); err != nil {
		return err
	}
	if c.Width%c.Heads != 0 {
		return bad("heads", c.Heads, fmt.Sprintf("a divisor of width %d", c.Width))
	}
	return nil
}

// orDefault sets *v where it is zero.
func orDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}
