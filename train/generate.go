package train

import (
	"fmt"

	"ringo/models"
	"ringo/runtime/backend"
	"ringo/runtime/graph"
	"ringo/runtime/plan"
	"ringo/runtime/tensor"
)

// Generator writes text with a language model, one token at a time over a key/value cache. It is not safe
// for concurrent use.
type Generator struct {
	exec   backend.Executable
	cache  int // tokens the cache holds
	vocab  int
	tokens []byte // I32 (1,1)
	pos    []byte // I32 ()
	logits []byte // F32 (1,1,V)
}

// NewGenerator plans one step of generation on a store that holds the model's weights.
func NewGenerator(b backend.Backend, s backend.Store, m *models.Model, opt plan.Options) (*Generator, error) {
	opt.Training = nil
	exec, err := compile(b, s, func(gr *graph.Graph) error { return m.Decode(gr, 1, m.Context) }, opt)
	if err != nil {
		return nil, err
	}
	return GeneratorOf(exec, m), nil
}

// GeneratorOf generates with a program that was made elsewhere, such as an integer one: a graph as m.Decode builds it for one
// sequence and a cache of the model's context. The generator owns it from now on.
func GeneratorOf(exec backend.Executable, m *models.Model) *Generator {
	return &Generator{exec: exec, cache: m.Context, vocab: m.Vocab, tokens: make([]byte, 4), pos: make([]byte, 4), logits: make([]byte, 4*m.Vocab)}
}

// feed runs the model on one token at a position and leaves the logits of the next.
func (g *Generator) feed(id int32, pos int) error {
	tensor.View[int32](g.tokens)[0] = id
	tensor.View[int32](g.pos)[0] = int32(pos)
	if err := g.exec.Feed(models.Tokens, g.tokens); err != nil {
		return err
	}
	if err := g.exec.Feed(models.Position, g.pos); err != nil {
		return err
	}
	if err := g.exec.Run(0, len(g.exec.Program().Instrs)); err != nil {
		return err
	}
	return g.exec.Fetch(models.Logits, g.logits)
}

// Logits returns the scores (V) that the last fed token gave its successor.
func (g *Generator) Logits() []float32 { return tensor.View[float32](g.logits) }

// Generate continues prompt (at least one id) by up to n tokens and calls emit with each; emit returns
// false to stop. Where the text outgrows the model's context, the model goes on from its last half.
func (g *Generator) Generate(prompt []int32, n int, how Sampling, emit func(id int32) bool) error {
	if len(prompt) == 0 {
		return fmt.Errorf("generate: an empty prompt, expected at least one token")
	}
	if err := how.Validate(); err != nil {
		return err
	}
	for _, id := range prompt {
		if id < 0 || int(id) >= g.vocab {
			return fmt.Errorf("generate: token id %d, the model knows 0…%d", id, g.vocab-1)
		}
	}
	s := sampler{Sampling: how}
	text := append([]int32(nil), prompt...)
	if len(text) > g.cache {
		text = text[len(text)-g.cache:]
	}
	done := 0 // tokens of text that the cache holds
	for at := range n {
		if done == g.cache { // full: what follows sees the last half
			text = append(text[:0], text[len(text)-max(1, g.cache/2):]...)
			done = 0
		}
		for ; done < len(text); done++ {
			if err := g.feed(text[done], done); err != nil {
				return err
			}
		}
		id := s.draw(g.Logits(), at)
		if !emit(id) {
			return nil
		}
		text = append(text, id)
	}
	return nil
}

// Close frees the program; the store is its owner's.
func (g *Generator) Close() error { return g.exec.Close() }
