package data

import (
	"fmt"
	"strings"
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

func (byteTokenizer) Decode(ids []int32) string {
	out := make([]byte, 0, len(ids))
	for _, id := range ids {
		if id >= 0 && id < 256 {
			out = append(out, byte(id))
		}
	}
	return string(out)
}
