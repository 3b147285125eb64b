package data

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// Vocabulary is a tokenizer laid open, for those who write it in another program's format.
type Vocabulary struct {
	Kind   string   // the tokenizer's name
	Pieces []string // by id: the bytes it stands for
	// Merges are the byte-pair merges, best first (gpt2, llama2c); merges of equal rank follow one another.
	Merges []Merge
	BOS    int32 // id that marks the start of a text, −1 where there is none
	EOS    int32 // and its end
	// Bytes is the id of byte 0 where the 256 single bytes have ids of their own beside the pieces (llama2c), else −1.
	Bytes int32
}

// Merge says that two neighbouring tokens become one.
type Merge struct{ Left, Right, Result, Rank int32 }

// OpenVocabulary lays a tokenizer of this package open; ok is false for any other.
func OpenVocabulary(t Tokenizer) (v Vocabulary, ok bool) {
	v = Vocabulary{Kind: t.Name(), BOS: -1, EOS: -1, Bytes: -1}
	if m, ok := t.(Marker); ok {
		v.BOS, v.EOS = m.BOS(), m.EOS()
	}
	switch t := t.(type) {
	case byteTokenizer, *charTokenizer:
		for id := range int32(t.Vocab()) {
			text, _ := t.(piecer).piece(id)
			v.Pieces = append(v.Pieces, text)
		}
	case *gpt2Tokenizer:
		v.Pieces, v.Merges = t.pieces, t.list()
	case *llama2cTokenizer:
		v.Pieces, v.Merges, v.Bytes = t.pieces, t.list(), llama2cBytes
	default:
		return v, false
	}
	return v, true
}

// list returns the merges, best first; of equal rank, by ids.
func (m *merger) list() []Merge {
	out := make([]Merge, 0, len(m.pairs))
	for key, rule := range m.pairs {
		out = append(out, Merge{int32(key >> 32), int32(uint32(key)), rule.id, rule.rank})
	}
	slices.SortFunc(out, func(a, b Merge) int {
		return cmp.Or(cmp.Compare(a.Rank, b.Rank), cmp.Compare(a.Result, b.Result), cmp.Compare(a.Left, b.Left))
	})
	return out
}

// Space is what stands for the space in vocabularies of SentencePiece.
const Space = "▁"

// Printable returns the pieces as vocabulary files spell them, each as valid UTF-8 and by id: the byte alphabet of
// GPT-2 for byte and gpt2, characters for char, "▁" for spaces and <0xNN> for bytes for llama2c.
func (v Vocabulary) Printable() ([]string, error) {
	out := make([]string, len(v.Pieces))
	toRune, _ := byteAlphabet()
	for id, p := range v.Pieces {
		switch v.Kind {
		case "byte", "gpt2":
			for _, b := range []byte(p) {
				out[id] += string(toRune[b])
			}
			if v.Kind == "gpt2" && int32(id) == v.EOS {
				out[id] = p
			}
		case "llama2c":
			at := int32(id) - v.Bytes
			switch {
			case at < 0:
				out[id] = []string{"<unk>", "<s>", "</s>"}[id]
			case at < 256:
				out[id] = fmt.Sprintf("<0x%02X>", at)
			default:
				out[id] = strings.ReplaceAll(p, " ", Space)
			}
		default:
			out[id] = p
		}
		if !utf8.ValidString(out[id]) || out[id] == "" {
			return nil, fmt.Errorf("tokenizer %s: piece %d is %q, expected text", v.Kind, id, p)
		}
	}
	return out, nil
}
