package data

import (
	"errors"
	"fmt"
	"slices"
	"unicode/utf8"
)

// charTokenizer gives each character of its vocabulary the id of its place in code-point order, as nanoGPT's
// prepare.py does.
type charTokenizer struct {
	chars []rune // by id, increasing
	ascii [utf8.RuneSelf]int32
	other map[rune]int32
}

// openChar takes the vocabulary from the spec, else from the corpus.
func openChar(spec TokenizerSpec, corpus string) (Tokenizer, error) {
	text, origin := corpus, "the text"
	if spec.Chars != "" {
		text, origin = spec.Chars, "the stored vocabulary"
	}
	if text == "" {
		return nil, errors.New("tokenizer char: no text to take the vocabulary from")
	}
	t := &charTokenizer{other: map[rune]int32{}}
	var seen [utf8.RuneSelf]bool
	for i := 0; i < len(text); {
		if c := text[i]; c < utf8.RuneSelf {
			seen[c] = true
			i++
			continue
		}
		r, n := utf8.DecodeRuneInString(text[i:])
		if r == utf8.RuneError && n == 1 {
			return nil, fmt.Errorf("tokenizer char: %s is not UTF-8 (byte 0x%02x at offset %d); use tokenizer byte", origin, text[i], i)
		}
		t.other[r] = 0
		i += n
	}
	for c, ok := range seen {
		t.ascii[c] = -1
		if ok {
			t.ascii[c] = int32(len(t.chars))
			t.chars = append(t.chars, rune(c))
		}
	}
	wide := make([]rune, 0, len(t.other))
	for r := range t.other {
		wide = append(wide, r)
	}
	slices.Sort(wide)
	for _, r := range wide {
		t.other[r] = int32(len(t.chars))
		t.chars = append(t.chars, r)
	}
	return t, nil
}

func (t *charTokenizer) Name() string { return "char" }
func (t *charTokenizer) Vocab() int   { return len(t.chars) }
func (t *charTokenizer) Spec() TokenizerSpec {
	return TokenizerSpec{Name: "char", Chars: string(t.chars)}
}

func (t *charTokenizer) Encode(text string) ([]int32, error) {
	ids := make([]int32, 0, len(text))
	err := t.each(text, func(id int32) { ids = append(ids, id) })
	return ids, err
}

// each calls f with the id of every character.
func (t *charTokenizer) each(text string, f func(int32)) error {
	for i := 0; i < len(text); {
		if c := text[i]; c < utf8.RuneSelf {
			if t.ascii[c] < 0 {
				return t.unknown(text, i)
			}
			f(t.ascii[c])
			i++
			continue
		}
		r, n := utf8.DecodeRuneInString(text[i:])
		id, ok := t.other[r]
		if !ok || r == utf8.RuneError && n == 1 {
			return t.unknown(text, i)
		}
		f(id)
		i += n
	}
	return nil
}

// encodeStore packs the ids of a long text without an int32 each in between.
func (t *charTokenizer) encodeStore(text string) (tokenStore, error) {
	s := tokenStore{width: widthFor(len(t.chars))}
	if s.width > 1 {
		ids, err := t.Encode(text)
		if err != nil {
			return s, err
		}
		return storeTokens(ids, len(t.chars)), nil
	}
	s.raw = make([]byte, 0, len(text))
	err := t.each(text, func(id int32) { s.raw = append(s.raw, byte(id)) })
	return s, err
}

func (t *charTokenizer) unknown(text string, at int) error {
	r, n := utf8.DecodeRuneInString(text[at:])
	if r == utf8.RuneError && n == 1 {
		return fmt.Errorf("tokenizer char: byte 0x%02x at offset %d is not UTF-8", text[at], at)
	}
	return fmt.Errorf("tokenizer char: character %q (U+%04X) at offset %d is not among the %d characters of the vocabulary; leave it out or use tokenizer byte",
		r, r, at, len(t.chars))
}

func (t *charTokenizer) Decode(ids []int32) string { return decodePieces(t, ids) }

func (t *charTokenizer) piece(id int32) (string, bool) {
	if id < 0 || int(id) >= len(t.chars) {
		return "", false
	}
	return string(t.chars[id]), false
}
