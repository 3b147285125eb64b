// Package config owns a run's configuration: one strict YAML file, --set and RINGO_SECTION_KEY overrides,
// defaults, and the checks that need no data. It must not know how a run is carried out.
package config

import (
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"

	"ringo/data"
	"ringo/models"
)

// Config is a whole run. docs/configuration.md documents every key.
type Config struct {
	Model models.Config `yaml:"model"`
	Data  data.Config   `yaml:"data"`
	Train Train         `yaml:"train"`
	Optim Optim         `yaml:"optim"`

	name  string // of the file, for errors
	where map[string]place
}

// Train says how long and how a model is trained.
type Train struct {
	Steps          int     `yaml:"steps"`           // optimizer steps; 0: from epochs
	Epochs         float64 `yaml:"epochs"`          // passes over the training set, where steps is 0
	Batch          int     `yaml:"batch"`           // samples per optimizer step, over all lanes
	Lanes          int     `yaml:"lanes"`           // equal micro-batches; a power of two that divides batch
	Precision      string  `yaml:"precision"`       // fp32, or bf16 (products in bf16, sums and master weights in f32)
	Seed           uint64  `yaml:"seed"`            // of weights, sample order and dropout
	Threads        int     `yaml:"threads"`         // CPU threads; 0: all. The result does not depend on it
	Reduce         string  `yaml:"reduce"`          // ring, or reproducible (same bits at any number of workers)
	Balance        string  `yaml:"balance"`         // lanes per worker: even, or speed (in proportion to measured speed)
	Wire           string  `yaml:"wire"`            // how gradients travel between workers: exact, bf16 or int8 (with error feedback)
	Rounding       string  `yaml:"rounding"`        // of weights to bf16: nearest or stochastic
	Recompute      string  `yaml:"recompute"`       // computed again in the backward pass to save memory: none, gelu, norm, block
	ClassifierRows int     `yaml:"classifier_rows"` // rows of logits computed at once; 0: all, on GPUs what takes about 1.5 GiB
	LogEvery       int     `yaml:"log_every"`       // steps between step events; 0: about 200 over the run
	EvalEvery      int     `yaml:"eval_every"`      // steps between evaluations; 0: only at the end
	EvalBatches    int     `yaml:"eval_batches"`    // batches per evaluation, 0: the whole validation set
	SaveEvery      int     `yaml:"save_every"`      // steps between checkpoints; 0: only at the end
	Keep           int     `yaml:"keep"`            // checkpoints kept; 0: all
	EMA            float64 `yaml:"ema"`             // decay of the weights' moving average, in [0,1); 0: none
	QAT            bool    `yaml:"qat"`             // round inputs and weights of products to 8 bits, as the int8 export will
	EarlyStop      int     `yaml:"early_stop"`      // stop after so many evaluations without improvement; 0: never
	Sample         int     `yaml:"sample"`          // tokens of text generated at the end of a text run
}

// Optim chooses the optimizer and its schedule. Keys that an optimizer does not use are ignored by it.
type Optim struct {
	Name        string     `yaml:"name"`         // adamw, sgd, lion, muon (muon updates hidden matrices, adamw the rest)
	LR          float64    `yaml:"lr"`           // peak learning rate
	MinLR       float64    `yaml:"min_lr"`       // where linear, cosine and wsd end
	Warmup      int        `yaml:"warmup"`       // steps of linear warmup
	Schedule    string     `yaml:"schedule"`     // constant, linear, cosine, wsd
	Decay       float64    `yaml:"decay"`        // wsd: the part of the steps that decays
	Betas       [2]float64 `yaml:"betas,flow"`   // adamw, lion
	Eps         float64    `yaml:"eps"`          // adamw
	Momentum    float64    `yaml:"momentum"`     // sgd, muon
	Nesterov    bool       `yaml:"nesterov"`     // sgd, muon
	WeightDecay float64    `yaml:"weight_decay"` // not applied to biases and norm gains
	Clip        float64    `yaml:"clip"`         // largest norm of the whole gradient; 0: no clipping
	MuonSteps   int        `yaml:"muon_steps"`   // Newton–Schulz iterations
}

// Default returns the configuration that a file's keys are laid over.
func Default() *Config {
	return &Config{
		Train: Train{Batch: 32, Lanes: 1, Precision: "fp32", Rounding: "nearest", Seed: 1337, Reduce: "ring", Balance: "even", Wire: "exact", Recompute: "none", EvalBatches: 0, Keep: 3, Sample: 300},
		Optim: Optim{Name: "adamw", LR: 1e-3, Schedule: "cosine", Decay: 0.2, Betas: [2]float64{0.9, 0.999}, Eps: 1e-8,
			Momentum: 0.9, WeightDecay: 0, Clip: 0, MuonSteps: 5},
		where: map[string]place{},
	}
}

// Load reads a file, then applies environment variables of the form RINGO_SECTION_KEY=value from env, then
// sets of the form section.key=value, and checks the result. An *Error says what is wrong and where.
func Load(path string, env, sets []string) (*Config, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	return Parse(path, text, env, sets)
}

// Parse is Load for text in memory; name is what errors call it.
func Parse(name string, text []byte, env, sets []string) (*Config, error) {
	c := Default()
	c.name = name
	d := &decoder{source: name, where: c.where}
	if err := d.document(text, c); err != nil {
		return nil, err
	}
	if err := d.environ(c, env); err != nil {
		return nil, err
	}
	if err := d.sets(c, sets); err != nil {
		return nil, err
	}
	if c.Data.Context == 0 {
		c.Data.Context = c.Model.Context
	}
	return c, c.Locate(c.Validate())
}

// YAML returns the resolved configuration; Parse of it gives an equal Config.
func (c *Config) YAML() ([]byte, error) { return yaml.MarshalWithOptions(c, yaml.Indent(2)) }

// Validate returns one sentence, beginning with the key, about the first impossible value.
func (c *Config) Validate() error {
	if err := c.Model.Validate(); err != nil {
		return err
	}
	if err := c.Data.Validate(); err != nil {
		return err
	}
	if err := c.Train.validate(); err != nil {
		return err
	}
	return c.Optim.validate()
}

// rule is one condition on a key: where ok is false, the sentence is "KEY VALUE: must MUST".
type rule struct {
	key   string
	value any
	ok    bool
	must  string
}

func check(section string, rules []rule) error {
	for _, r := range rules {
		if !r.ok {
			return fmt.Errorf("%s.%s %v: must %s", section, r.key, r.value, r.must)
		}
	}
	return nil
}

func (t Train) validate() error {
	const some, natural = "be at least 1", "be 0 or more"
	return check("train", []rule{
		{"steps", t.Steps, t.Steps >= 0, natural},
		{"epochs", t.Epochs, t.Epochs >= 0, natural},
		{"steps", t.Steps, t.Steps > 0 || t.Epochs > 0, "be at least 1, or epochs be given"},
		{"batch", t.Batch, t.Batch >= 1, some},
		{"lanes", t.Lanes, t.Lanes >= 1 && t.Lanes&(t.Lanes-1) == 0, "be a power of two"},
		{"lanes", t.Lanes, t.Lanes >= 1 && t.Batch%t.Lanes == 0, fmt.Sprintf("divide train.batch %d", t.Batch)},
		oneOf("precision", t.Precision, "fp32", "bf16"),
		oneOf("rounding", t.Rounding, "nearest", "stochastic"),
		{"rounding", t.Rounding, t.Rounding == "nearest" || t.Precision == "bf16", "be nearest unless train.precision is bf16"},
		oneOf("reduce", t.Reduce, "ring", "reproducible"),
		oneOf("balance", t.Balance, "even", "speed"),
		oneOf("wire", t.Wire, "exact", "bf16", "int8"),
		{"wire", t.Wire, t.Wire == "exact" || t.Reduce == "ring", "be exact with train.reduce reproducible: rounding on the way depends on who sends"},
		oneOf("recompute", t.Recompute, "none", "gelu", "norm", "block"),
		{"classifier_rows", t.ClassifierRows, t.ClassifierRows >= 0, natural},
		{"threads", t.Threads, t.Threads >= 0, natural},
		{"log_every", t.LogEvery, t.LogEvery >= 0, natural},
		{"eval_every", t.EvalEvery, t.EvalEvery >= 0, natural},
		{"eval_batches", t.EvalBatches, t.EvalBatches >= 0, natural},
		{"save_every", t.SaveEvery, t.SaveEvery >= 0, natural},
		{"keep", t.Keep, t.Keep >= 0, natural},
		{"ema", t.EMA, t.EMA >= 0 && t.EMA < 1, "lie in [0,1)"},
		{"early_stop", t.EarlyStop, t.EarlyStop >= 0, natural},
		{"early_stop", t.EarlyStop, t.EarlyStop == 0 || t.EvalEvery > 0, "be 0 unless train.eval_every is given"},
		{"sample", t.Sample, t.Sample >= 0, natural},
	})
}

func (o Optim) validate() error {
	const part = "lie in [0,1)"
	in01 := func(x float64) bool { return x >= 0 && x < 1 }
	return check("optim", []rule{
		oneOf("name", o.Name, "adamw", "sgd", "lion", "muon"),
		{"lr", o.LR, o.LR > 0 && !math.IsInf(o.LR, 0), "be above 0"},
		{"min_lr", o.MinLR, o.MinLR >= 0 && o.MinLR <= o.LR, fmt.Sprintf("lie between 0 and optim.lr %v", o.LR)},
		{"warmup", o.Warmup, o.Warmup >= 0, "be 0 or more"},
		oneOf("schedule", o.Schedule, "constant", "linear", "cosine", "wsd"),
		{"decay", o.Decay, o.Decay >= 0 && o.Decay <= 1, "lie in [0,1]"},
		{"betas", o.Betas, in01(o.Betas[0]) && in01(o.Betas[1]), "both " + part},
		{"eps", o.Eps, o.Eps > 0, "be above 0"},
		{"momentum", o.Momentum, in01(o.Momentum), part},
		{"nesterov", o.Nesterov, !o.Nesterov || o.Momentum > 0, "be false without momentum"},
		{"weight_decay", o.WeightDecay, o.WeightDecay >= 0, "be 0 or more"},
		{"clip", o.Clip, o.Clip >= 0, "be 0 or more"},
		{"muon_steps", o.MuonSteps, o.MuonSteps >= 1 && o.MuonSteps <= 20, "lie in 1…20"},
	})
}

func oneOf(key, value string, allowed ...string) rule {
	return rule{key, fmt.Sprintf("%q", value), slices.Contains(allowed, value), "be one of " + strings.Join(allowed, ", ")}
}

// OpenData opens the data sets. A value that they show to be impossible is an *Error, as those that Parse finds.
func (c *Config) OpenData() (train, valid data.Dataset, err error) {
	train, valid, err = data.Open(c.Data)
	return train, valid, c.LocateData(err)
}

// LocateData is Locate for errors of opening data, of which only a *data.KeyError has a place in the configuration.
func (c *Config) LocateData(err error) error {
	var wrong *data.KeyError
	if errors.As(err, &wrong) {
		return c.Locate(wrong)
	}
	return err
}

// Locate turns an error whose sentence begins with a key ("model.vocab: …") into an *Error that says where
// the key was written.
func (c *Config) Locate(err error) error {
	if err == nil {
		return nil
	}
	head, _, _ := strings.Cut(err.Error(), " ")
	key, _, _ := strings.Cut(strings.TrimSuffix(head, ":"), "[")
	rest := strings.TrimLeft(strings.TrimPrefix(err.Error(), key), ": ")
	out := &Error{Source: c.name, Key: key, Msg: rest}
	if p, ok := c.where[key]; ok {
		out.Source = p.source
		if p.tok != nil {
			out.Line, out.Caret = p.tok.Position.Line, caret(p.tok)
		}
	}
	return out
}
