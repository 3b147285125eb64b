package gguf

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"ringo/data"
)

// Kinds of tokens (llama_token_type).
const (
	tokenNormal  = 1
	tokenUnknown = 2
	tokenControl = 3
	tokenUnused  = 5
	tokenByte    = 6
)

// tokenizer returns the metadata of a vocabulary, filled up with unused tokens to the size of the model's:
//
//	gpt2        "gpt2", byte-level byte-pair encoding
//	llama2c     "llama", SentencePiece by scores
//	byte, char  "rwkv", which takes the longest piece that fits: a byte, a character; it knows no marks
func tokenizer(t data.Tokenizer, size int) ([]pair, error) {
	v, ok := data.OpenVocabulary(t)
	if !ok || len(v.Pieces) > size {
		return nil, fmt.Errorf("gguf: tokenizer %s of %d pieces has no form for a model of %d", t.Name(), t.Vocab(), size)
	}
	w := &vocabulary{Vocabulary: v}
	var err error
	switch v.Kind {
	case "gpt2":
		err = w.gpt2()
	case "llama2c":
		err = w.llama()
	default:
		w.plain()
	}
	for i := len(w.tokens); i < size; i++ {
		w.tokens = append(w.tokens, fmt.Sprintf("<unused %d>", i))
		w.kinds = append(w.kinds, tokenUnused)
	}
	return append(w.meta, w.rest()...), err
}

type vocabulary struct {
	data.Vocabulary
	meta   []pair
	tokens []string
	kinds  []int32
	scores []float32
	merges []string
}

func (w *vocabulary) rest() []pair {
	out := []pair{{"tokenizer.ggml.tokens", w.tokens}, {"tokenizer.ggml.token_type", w.kinds}}
	if w.scores != nil {
		for len(w.scores) < len(w.tokens) {
			w.scores = append(w.scores, 0)
		}
		out = append(out, pair{"tokenizer.ggml.scores", w.scores})
	}
	if w.merges != nil {
		out = append(out, pair{"tokenizer.ggml.merges", w.merges})
	}
	if w.BOS >= 0 {
		out = append(out, pair{"tokenizer.ggml.bos_token_id", uint32(w.BOS)}, pair{"tokenizer.ggml.eos_token_id", uint32(w.EOS)})
	}
	return out
}

func (w *vocabulary) gpt2() (err error) {
	w.meta = []pair{{"tokenizer.ggml.model", "gpt2"}, {"tokenizer.ggml.pre", "gpt-2"}, {"tokenizer.ggml.add_bos_token", false}}
	w.tokens, err = w.Printable()
	w.fill(tokenNormal)
	if w.EOS >= 0 && err == nil {
		w.kinds[w.EOS] = tokenControl
	}
	w.merges = make([]string, 0, len(w.Merges))
	for _, m := range w.Merges {
		w.merges = append(w.merges, w.tokens[m.Left]+" "+w.tokens[m.Right])
	}
	return err
}

// llama: a piece's score is minus the rank of the merges that make it, so that the best merges first as in ringo.
func (w *vocabulary) llama() (err error) {
	w.meta = []pair{{"tokenizer.ggml.model", "llama"}, {"tokenizer.ggml.pre", "default"}, {"tokenizer.ggml.add_bos_token", true},
		{"tokenizer.ggml.add_space_prefix", true}, {"tokenizer.ggml.unknown_token_id", uint32(0)}}
	w.tokens, err = w.Printable()
	w.fill(tokenNormal)
	w.scores = make([]float32, len(w.tokens))
	for _, m := range w.Merges {
		w.scores[m.Result] = -float32(m.Rank)
	}
	for i := range w.Bytes + 256 {
		switch {
		case i == 0:
			w.kinds[i] = tokenUnknown
		case i < w.Bytes:
			w.kinds[i] = tokenControl
		default:
			w.kinds[i] = tokenByte
		}
	}
	return err
}

// plain escapes what is not printable, and the backslash, as llama.cpp's RWKV vocabulary expects.
func (w *vocabulary) plain() {
	w.meta = []pair{{"tokenizer.ggml.model", "rwkv"}, {"tokenizer.ggml.add_bos_token", false}, {"tokenizer.ggml.add_space_prefix", false}}
	for _, p := range w.Pieces {
		var b strings.Builder
		for i := 0; i < len(p); {
			r, n := utf8.DecodeRuneInString(p[i:])
			switch {
			case r == utf8.RuneError && n == 1, r < ' ', r == 0x7f:
				fmt.Fprintf(&b, `\x%02x`, p[i])
			case r == '\\':
				b.WriteString(`\\`)
			default:
				b.WriteString(p[i : i+n])
			}
			i += n
		}
		w.tokens = append(w.tokens, b.String())
	}
	w.fill(tokenNormal)
}

func (w *vocabulary) fill(kind int32) {
	w.kinds = make([]int32, len(w.tokens))
	for i := range w.kinds {
		w.kinds[i] = kind
	}
}
