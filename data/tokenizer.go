package data

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Tokenizer turns text into token ids 0…Vocab()−1 and back. It is safe for concurrent use.
type Tokenizer interface {
	Name() string // byte, char, gpt2, llama2c
	Vocab() int
	// Encode returns the ids of text. A character that the vocabulary lacks is an error that names it.
	Encode(text string) ([]int32, error)
	// Decode returns the text of ids; ids outside the vocabulary are left out. One id may be part of a
	// character only, so a streaming caller should hold back an incomplete UTF-8 tail.
	Decode(ids []int32) string
	// Spec is what OpenTokenizer needs to build the same tokenizer again; checkpoints store it.
	Spec() TokenizerSpec
}

// TokenizerSpec names a tokenizer and what it was made from, in JSON-friendly form.
type TokenizerSpec struct {
	Name  string `json:"name"`
	Chars string `json:"chars,omitempty"` // char: the vocabulary in order of id
	Path  string `json:"path,omitempty"`  // gpt2: folder, llama2c: file, as the configuration gave it; looked up by Find
}

// tokenizers is the table of tokenizers; text is the whole corpus, from which char takes its vocabulary.
var tokenizers = []struct {
	name string
	open func(spec TokenizerSpec, corpus string) (Tokenizer, error)
}{
	{"byte", func(TokenizerSpec, string) (Tokenizer, error) { return byteTokenizer{}, nil }},
	{"char", openChar},
	{"gpt2", openGPT2},
	{"llama2c", openLlama2c},
}

// Tokenizers lists the names that data.tokenizer may take.
func Tokenizers() []string {
	names := make([]string, len(tokenizers))
	for i, t := range tokenizers {
		names[i] = t.name
	}
	return names
}

// OpenTokenizer builds the tokenizer that spec describes.
func OpenTokenizer(spec TokenizerSpec) (Tokenizer, error) { return openTokenizer(spec, "") }

func openTokenizer(spec TokenizerSpec, corpus string) (Tokenizer, error) {
	for _, t := range tokenizers {
		if t.name == spec.Name {
			return t.open(spec, corpus)
		}
	}
	return nil, fmt.Errorf("tokenizer %q: unknown, expected one of %s", spec.Name, strings.Join(Tokenizers(), ", "))
}

// byteTokenizer's ids are the bytes of the text.
type byteTokenizer struct{}

func (byteTokenizer) Name() string        { return "byte" }
func (byteTokenizer) Vocab() int          { return 256 }
func (byteTokenizer) Spec() TokenizerSpec { return TokenizerSpec{Name: "byte"} }

func (byteTokenizer) Encode(text string) ([]int32, error) {
	ids := make([]int32, len(text))
	for i := range len(text) {
		ids[i] = int32(text[i])
	}
	return ids, nil
}

func (t byteTokenizer) Decode(ids []int32) string { return decodePieces(t, ids) }

func (byteTokenizer) piece(id int32) (string, bool) {
	if id < 0 || id > 255 {
		return "", false
	}
	return string([]byte{byte(id)}), false
}

// Marker is a Tokenizer whose vocabulary has ids that mark the start and the end of a text.
// Encode does not add them.
type Marker interface {
	BOS() int32
	EOS() int32
}

// piecer is what Decoder asks of the tokenizers of this package.
type piecer interface {
	// piece returns the bytes of one id, and whether a space in front of a text's first piece is only a mark.
	piece(id int32) (text string, dummySpace bool)
}

// Decoder turns a stream of ids into text as it comes, holding back the bytes of an incomplete character.
// The zero value with Tokenizer set is ready. Not safe for concurrent use.
type Decoder struct {
	Tokenizer Tokenizer
	started   bool
	pending   []byte
}

// Add returns the text that id completes, possibly none.
func (d *Decoder) Add(id int32) string {
	text, dummySpace := "", false
	if p, ok := d.Tokenizer.(piecer); ok {
		text, dummySpace = p.piece(id)
	} else {
		text = d.Tokenizer.Decode([]int32{id})
	}
	if text == "" {
		return ""
	}
	if !d.started && dummySpace {
		text = strings.TrimPrefix(text, " ")
	}
	d.started = true
	d.pending = append(d.pending, text...)
	whole := len(d.pending)
	for back := 1; back < utf8.UTFMax && back <= len(d.pending); back++ {
		if c := d.pending[len(d.pending)-back]; utf8.RuneStart(c) {
			if !utf8.FullRune(d.pending[len(d.pending)-back:]) {
				whole -= back
			}
			break
		}
	}
	out := string(d.pending[:whole])
	d.pending = append(d.pending[:0], d.pending[whole:]...)
	return out
}

// Flush returns the bytes held back and makes the decoder ready for another text.
func (d *Decoder) Flush() string {
	out := string(d.pending)
	d.pending, d.started = d.pending[:0], false
	return out
}

// decodePieces joins pieces the way Decode promises.
func decodePieces(t piecer, ids []int32) string {
	var out strings.Builder
	started := false
	for _, id := range ids {
		text, dummySpace := t.piece(id)
		if dummySpace && !started {
			out.WriteString(strings.TrimPrefix(text, " "))
		} else {
			out.WriteString(text)
		}
		started = started || text != ""
	}
	return out.String()
}
