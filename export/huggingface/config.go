package huggingface

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"ringo/data"
	"ringo/models"
)

// Config is what config.json says of a model: the keys of GPT2Config and LlamaConfig of transformers, and under
// "ringo" what those have no place for.
type Config struct {
	Architectures []string `json:"architectures"`
	ModelType     string   `json:"model_type"`
	TorchDType    string   `json:"torch_dtype"`
	VocabSize     int      `json:"vocab_size,omitempty"`
	BOS           *int32   `json:"bos_token_id"`
	EOS           *int32   `json:"eos_token_id"`
	Tied          *bool    `json:"tie_word_embeddings,omitempty"`

	// GPT-2
	Positions  int      `json:"n_positions,omitempty"`
	Embd       int      `json:"n_embd,omitempty"`
	Layer      int      `json:"n_layer,omitempty"`
	Head       int      `json:"n_head,omitempty"`
	Inner      *int     `json:"n_inner,omitempty"`
	Activation string   `json:"activation_function,omitempty"`
	NormEps    *float64 `json:"layer_norm_epsilon,omitempty"`
	EmbdDrop   *float64 `json:"embd_pdrop,omitempty"`
	AttnDrop   *float64 `json:"attn_pdrop,omitempty"`
	ResidDrop  *float64 `json:"resid_pdrop,omitempty"`

	// Llama
	Hidden        int             `json:"hidden_size,omitempty"`
	Intermediate  int             `json:"intermediate_size,omitempty"`
	HiddenLayers  int             `json:"num_hidden_layers,omitempty"`
	Heads         int             `json:"num_attention_heads,omitempty"`
	KVHeads       int             `json:"num_key_value_heads,omitempty"`
	HeadDim       int             `json:"head_dim,omitempty"`
	MaxPositions  int             `json:"max_position_embeddings,omitempty"`
	RMSEps        *float64        `json:"rms_norm_eps,omitempty"`
	RopeTheta     float64         `json:"rope_theta,omitempty"`
	RopeScaling   json.RawMessage `json:"rope_scaling,omitempty"`
	RopeParams    *RopeParameters `json:"rope_parameters,omitempty"`
	HiddenAct     string          `json:"hidden_act,omitempty"`
	AttentionBias bool            `json:"attention_bias,omitempty"`
	MLPBias       bool            `json:"mlp_bias,omitempty"`

	Ringo *Extra `json:"ringo,omitempty"`
}

// RopeParameters is where transformers 5 keeps the base of rotary embeddings.
type RopeParameters struct {
	Type  string  `json:"rope_type"`
	Theta float64 `json:"rope_theta"`
}

// Extra is what a folder written by ringo says beyond transformers' keys.
type Extra struct {
	Model     models.Config       `json:"model"`
	Tokenizer *data.TokenizerSpec `json:"tokenizer,omitempty"`
	Labels    []string            `json:"labels,omitempty"`
	Image     *data.ImageSpec     `json:"image,omitempty"`
	Table     *data.Schema        `json:"table,omitempty"`
	Step      int                 `json:"step,omitempty"`
	SHA256    string              `json:"checkpoint_sha256,omitempty"`
}

// The values of model_type.
const (
	typeGPT2  = "gpt2"
	typeLlama = "llama"
	typeRingo = "ringo" // a model that transformers has no class for
)

// configOf returns the config.json of a model. Marks of the tokenizer are −1 where it has none.
func configOf(c models.Config, bos, eos int32) *Config {
	out := &Config{TorchDType: "float32", VocabSize: c.Vocab, BOS: mark(bos), EOS: mark(eos)}
	switch c.Name {
	case "gpt":
		tied := true
		out.ModelType, out.Architectures, out.Tied = typeGPT2, []string{"GPT2LMHeadModel"}, &tied
		out.Positions, out.Embd, out.Layer, out.Head = c.Context, c.Width, c.Layers, c.Heads
		out.Activation, out.NormEps = "gelu_new", &c.NormEps
		none := 0.0 // ringo's dropout spares the attention weights
		out.EmbdDrop, out.ResidDrop, out.AttnDrop = &c.Dropout, &c.Dropout, &none
	case "llama":
		out.ModelType, out.Architectures, out.Tied = typeLlama, []string{"LlamaForCausalLM"}, &c.Tied
		out.Hidden, out.Intermediate, out.HiddenLayers, out.MaxPositions = c.Width, c.Hidden, c.Layers, c.Context
		out.Heads, out.KVHeads, out.HeadDim = c.Heads, c.KVHeads, c.Width/c.Heads
		out.RMSEps, out.RopeTheta, out.HiddenAct = &c.NormEps, c.RopeBase, "silu"
		out.RopeParams = &RopeParameters{"default", c.RopeBase}
	default:
		out.ModelType, out.Architectures = typeRingo, []string{}
	}
	return out
}

func mark(id int32) *int32 {
	if id < 0 {
		return nil
	}
	return &id
}

// parseConfig reads a config.json and returns ringo's model for it. What ringo's models cannot do is refused by the
// name of its key.
func parseConfig(raw []byte) (*Config, models.Config, error) {
	c := &Config{}
	if err := json.Unmarshal(raw, c); err != nil {
		return nil, models.Config{}, fmt.Errorf("config.json: %w", err)
	}
	m, err := c.model()
	if err != nil {
		return nil, m, fmt.Errorf("config.json: %w", err)
	}
	return c, m, nil
}

func (c *Config) model() (models.Config, error) {
	switch c.ModelType {
	case typeGPT2:
		return c.gpt()
	case typeLlama:
		return c.llama()
	case typeRingo:
		if c.Ringo != nil {
			return c.Ringo.Model, nil
		}
		return models.Config{}, errors.New(`model_type is "ringo" but there is no key "ringo"`)
	}
	return models.Config{}, fmt.Errorf("model_type is %q, expected gpt2, llama or ringo", c.ModelType)
}

func (c *Config) gpt() (models.Config, error) {
	m := models.Config{Name: "gpt", Layers: c.Layer, Heads: c.Head, Width: c.Embd, Context: c.Positions, Vocab: c.VocabSize, NormEps: value(c.NormEps, 1e-5)}
	switch {
	case c.Activation != "" && c.Activation != "gelu_new" && c.Activation != "gelu_pytorch_tanh":
		return m, fmt.Errorf("activation_function is %q, expected gelu_new", c.Activation)
	case c.Inner != nil && *c.Inner != 0 && *c.Inner != 4*c.Embd:
		return m, fmt.Errorf("n_inner is %d, expected 4·n_embd = %d", *c.Inner, 4*c.Embd)
	case c.Tied != nil && !*c.Tied:
		return m, errors.New("tie_word_embeddings is false, expected a head tied to the token embedding")
	}
	if c.Ringo != nil {
		m.Dropout = c.Ringo.Model.Dropout
	}
	return m, nil
}

func (c *Config) llama() (models.Config, error) {
	m := models.Config{Name: "llama", Layers: c.HiddenLayers, Heads: c.Heads, KVHeads: c.KVHeads, Width: c.Hidden, Hidden: c.Intermediate,
		Context: c.MaxPositions, Vocab: c.VocabSize, NormEps: value(c.RMSEps, 1e-6), RopeBase: c.RopeTheta, Tied: c.Tied != nil && *c.Tied}
	scaled := len(c.RopeScaling) > 0 && !bytes.Equal(c.RopeScaling, []byte("null"))
	if p := c.RopeParams; p != nil {
		m.RopeBase = p.Theta
		scaled = scaled || (p.Type != "" && p.Type != "default")
	}
	switch {
	case c.HiddenAct != "" && c.HiddenAct != "silu":
		return m, fmt.Errorf("hidden_act is %q, expected silu", c.HiddenAct)
	case c.AttentionBias || c.MLPBias:
		return m, errors.New("attention_bias or mlp_bias is true, expected a model without biases")
	case scaled:
		return m, errors.New("rotary embeddings are scaled (rope_scaling), expected plain ones")
	case c.Heads > 0 && c.HeadDim != 0 && c.HeadDim*c.Heads != c.Hidden:
		return m, fmt.Errorf("head_dim is %d, expected hidden_size/num_attention_heads = %d", c.HeadDim, c.Hidden/c.Heads)
	}
	if c.Ringo != nil {
		m.Dropout, m.RopeInterleaved = c.Ringo.Model.Dropout, c.Ringo.Model.RopeInterleaved
	}
	return m, nil
}

func value(v *float64, def float64) float64 {
	if v == nil {
		return def
	}
	return *v
}
