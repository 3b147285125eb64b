// Package models owns layers and models: each is a function that builds a Graph. It holds the registry of
// models, how parameters start, and the map from parameters to the names that Hugging Face and PyTorch use.
// It must not know how a graph is planned or run, nor where data comes from.
//
// Shapes: B batch, T time (tokens), C channels, H heads, K key/value heads, D head size, V vocabulary, F hidden.
package models

import (
	"fmt"
	"slices"
	"strings"

	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

// Names of a model's inputs and outputs in the graphs it builds.
const (
	Tokens     = "tokens"     // I32 (B,T)
	Targets    = "targets"    // I32 (B,T): the token that follows
	Images     = "images"     // float (B,C,H,W)
	Features   = "features"   // float (B,F)
	Categories = "categories" // I32 (B, columns): embedded category columns
	Labels     = "labels"     // I32 (B)
	RNG        = graph.RNG    // I64 (3): seed, step, lane; there in training with dropout
	Position   = "pos"        // I32 (): tokens already in the cache

	Loss    = "loss"    // float (): mean cross-entropy in nats
	Correct = "correct" // float (): samples whose largest logit is the label's; evaluation of classifiers
	Logits  = "logits"  // float (B,T,V) or (B, classes)
)

// NoLabel is the target of rows that evaluation leaves out of the loss.
const NoLabel = -1

// architecture is a row of the registry.
type architecture struct {
	keys     string // the configuration keys it uses
	inOut    bool   // linear weights are stored (in,out), not (out,in)
	language bool   // reads tokens and predicts the next; else it classifies samples
	defaults func(*Config)
	check    func(*Config) error
	// logits builds (B,T,V) from tokens (B,T), or (B, classes) from samples.
	logits func(n *net, in samples) *graph.Value
	// split names the tensors that a packed parameter holds, nil where name is not packed.
	split func(c *Config, name string) []Weight
}

// registry names every model.
var registry = map[string]*architecture{
	"mlp":     &mlp,
	"convnet": &convnet,
	"resnet":  &resnet,
	"gpt":     &gpt,
	"llama":   &llama,
}

// Registered lists the models by name, sorted.
func Registered() []string {
	var out []string
	for name := range registry {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

func find(name string) (*architecture, error) {
	if a := registry[name]; a != nil {
		return a, nil
	}
	return nil, bad("name", fmt.Sprintf("%q", name), "one of "+strings.Join(Registered(), ", "))
}

// ReadsText reports whether the named model is a language model; the others classify samples.
func ReadsText(name string) (bool, error) {
	a, err := find(name)
	return err == nil && a.language, err
}

// Model builds graphs for one configuration. Its methods may be called for many graphs; equal calls build
// equal graphs, and parameters have the same names and order in all graphs of a model.
type Model struct {
	Config // complete: defaults filled in
	// DType is the float type of parameters and activations: F32 unless changed before the first graph is
	// built. F64 serves checks against references.
	DType tensor.DType
	// QAT rounds inputs and weights of products to 8 bits in every graph; see qat.go. Set before the first graph is built.
	QAT  bool
	arch *architecture
}

// New completes cfg with the model's defaults and checks it; the keys that come from the data set must be
// there. Errors name the key, what was found and what was expected.
func New(cfg Config) (*Model, error) {
	a, err := find(cfg.Name)
	if err != nil {
		return nil, err
	}
	cfg.Sizes, cfg.Channels = slices.Clone(cfg.Sizes), slices.Clone(cfg.Channels)
	if err := cfg.check(a, true); err != nil {
		return nil, err
	}
	return &Model{Config: cfg, DType: tensor.F32, arch: a}, nil
}

// Language reports whether the model reads Tokens and is scored on Targets; otherwise it classifies.
func (m *Model) Language() bool { return m.arch.language }

// InOut reports whether the model's linear weights are stored (in,out), as GPT-2's, rather than (out,in) as
// PyTorch's: Muon scales its step by the ratio of the two.
func (m *Model) InOut() bool { return m.arch.inOut }

// samples are the values a model reads.
type samples struct {
	tokens     *graph.Value // (B,T)
	x          *graph.Value // (B,C,H,W) or (B,F), nil where all columns are embedded
	categories *graph.Value // (B, columns), nil where none
}

// Loss declares the graph of one lane: inputs for batch samples, output Loss and, for a classifier in
// evaluation, Correct. Language models read sequences of the full context. training switches on dropout (input
// RNG, where Dropout > 0) and batch norm's batch statistics, whose running averages the graph tracks. In
// evaluation, rows whose target is NoLabel do not count.
// Builder panics (*graph.Error) pass through to graph.Build.
func (m *Model) Loss(g *graph.Graph, batch int, training bool) error {
	if batch < 1 {
		return fmt.Errorf("%s: a batch of %d samples per lane, expected at least 1", m.Name, batch)
	}
	n := &net{Graph: g, cfg: &m.Config, dt: m.DType, qat: m.QAT, rounded: map[*graph.Value]*graph.Value{}, training: training}
	in := m.inputs(g, batch, m.Context)
	name, shape := Labels, tensor.Shape{batch}
	if m.arch.language {
		name, shape = Targets, tensor.Shape{batch, m.Context}
	}
	targets := g.Input(name, tensor.I32, shape...)
	if training && m.Dropout > 0 {
		n.rng = g.Input(RNG, tensor.I64, 3)
	}
	logits := m.arch.logits(n, in)
	ce := graph.CrossEntropy{}
	if !training { // the last batch of an evaluation is filled up with rows of no label
		ce.Ignore, ce.HasIgnore = NoLabel, true
	}
	g.Output(Loss, g.CrossEntropy(logits, targets, ce)) // logits (B·T,V) or (B, classes)
	if !m.arch.language && !training {
		hit := g.Compare("eq", g.Cast(g.ArgMax(logits, -1), tensor.I32), targets) // (B)
		g.Output(Correct, g.Sum(g.Cast(hit, m.DType), false))
	}
	return nil
}

// Forward declares the graph that turns batch samples into output Logits, in evaluation mode. seq is the number
// of tokens, at most Context; classifiers ignore it.
func (m *Model) Forward(g *graph.Graph, batch, seq int) error {
	if batch < 1 || (m.arch.language && (seq < 1 || seq > m.Context)) {
		return fmt.Errorf("%s: forward over batch %d and %d tokens, expected at least 1 of each and at most %d tokens", m.Name, batch, seq, m.Context)
	}
	n := &net{Graph: g, cfg: &m.Config, dt: m.DType, qat: m.QAT, rounded: map[*graph.Value]*graph.Value{}}
	g.Output(Logits, m.arch.logits(n, m.inputs(g, batch, seq)))
	return nil
}

// Decode declares the graph of one step of generation: Tokens (B,1) at Position, key and value caches of
// cacheLen tokens as states, output Logits (B,1,V). Feed positions 0, 1, 2, … below cacheLen in turn; a new
// sequence starts again at 0, where nothing older is read. Only language models decode.
func (m *Model) Decode(g *graph.Graph, batch, cacheLen int) error {
	switch {
	case !m.arch.language:
		return fmt.Errorf("%s: classifies samples and cannot generate; expected a language model such as gpt or llama", m.Name)
	case batch < 1 || cacheLen < 1 || cacheLen > m.Context:
		return fmt.Errorf("%s: decoding batch %d with a cache of %d tokens, expected at least 1 of each and at most the context, %d", m.Name, batch, cacheLen, m.Context)
	}
	n := &net{Graph: g, cfg: &m.Config, dt: m.DType, qat: m.QAT, rounded: map[*graph.Value]*graph.Value{}, cache: cacheLen}
	in := m.inputs(g, batch, 1)
	n.pos = g.Input(Position, tensor.I32)
	g.Output(Logits, m.arch.logits(n, in))
	return nil
}

// inputs declares what the model reads for batch samples of seq tokens.
func (m *Model) inputs(g *graph.Graph, batch, seq int) (in samples) {
	if m.arch.language {
		in.tokens = g.Input(Tokens, tensor.I32, batch, seq)
		return in
	}
	name := Features
	if len(m.Input) == 3 {
		name = Images
	}
	if len(m.Input) > 0 {
		in.x = g.Input(name, m.DType, append([]int{batch}, m.Input...)...)
	}
	if len(m.Categories) > 0 {
		in.categories = g.Input(Categories, tensor.I32, batch, len(m.Categories))
	}
	return in
}
