package data

import (
	"errors"
	"fmt"
	"unsafe"
)

// openText reads one text, or two with test:, plain or gzip, and tokenizes it.
func openText(cfg Config) (train, valid Dataset, err error) {
	sum := newHash()
	read := func(path string) (string, error) {
		path, err := Find(path)
		if err != nil {
			return "", err
		}
		raw, err := readFile(path, 0, sum)
		if err != nil {
			return "", err
		}
		if len(raw) == 0 {
			return "", fmt.Errorf("%s: the text is empty", path)
		}
		return unsafe.String(unsafe.SliceData(raw), len(raw)), nil // raw is written no more
	}
	text, err := read(cfg.Path)
	if err != nil {
		return nil, nil, err
	}
	test := ""
	if cfg.Test != "" {
		if test, err = read(cfg.Test); err != nil {
			return nil, nil, err
		}
	}
	return textSets(cfg, cfg.Path, text, test, hexSum(sum))
}

// textSets tokenizes text and cuts it at split, unless test holds the validation text. As in nanoGPT the
// cut is made in characters (char, byte) or before tokenization at the same fraction (other tokenizers).
func textSets(cfg Config, name, text, test, hash string) (train, valid Dataset, err error) {
	if text == "" {
		return nil, nil, errors.New(name + ": the text is empty")
	}
	tok, err := openTokenizer(TokenizerSpec{Name: cfg.Tokenizer, Path: cfg.TokenizerPath}, text+test)
	if err != nil {
		return nil, nil, err
	}
	var a, b tokenStore
	switch {
	case test != "":
		if a, err = encode(tok, text); err == nil {
			b, err = encode(tok, test)
		}
	case cfg.Tokenizer == "byte" || cfg.Tokenizer == "char":
		if a, err = encode(tok, text); err == nil {
			cut := int(float64(a.len()) * cfg.Split)
			a, b = a.slice(0, cut), a.slice(cut, a.len())
		}
	default:
		cut := runeCut(text, cfg.Split)
		if a, err = encode(tok, text[:cut]); err == nil {
			b, err = encode(tok, text[cut:])
		}
	}
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", name, err)
	}
	if cfg.Limit > 0 && cfg.Limit < a.len() {
		a = a.slice(0, cfg.Limit)
	}
	info := Info{Vocab: tok.Vocab(), Tokenizer: tok, Sampling: cfg.Sampling, Hash: hash}
	info.Describe = fmt.Sprintf("%s: %d training and %d validation tokens (%s), vocabulary %d", name, a.len(), b.len(), tok.Name(), tok.Vocab())
	trainSet, err := newTextSet(a, cfg.Context, "training", info)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", name, err)
	}
	validSet, err := newTextSet(b, cfg.Context, "validation", info)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", name, err)
	}
	return trainSet, validSet, nil
}

// runeCut returns the byte offset of the character at the fraction split of the text.
func runeCut(text string, split float64) int {
	n := 0
	for range text {
		n++
	}
	want := int(float64(n) * split)
	for at := range text {
		if want == 0 {
			return at
		}
		want--
	}
	return len(text)
}

// encode tokenizes into packed ids; byte and char need no int32 slice in between.
func encode(tok Tokenizer, text string) (tokenStore, error) {
	switch t := tok.(type) {
	case byteTokenizer:
		return tokenStore{unsafe.Slice(unsafe.StringData(text), len(text)), 1}, nil // only read from here on
	case *charTokenizer:
		return t.encodeStore(text)
	}
	ids, err := tok.Encode(text)
	if err != nil {
		return tokenStore{}, err
	}
	return storeTokens(ids, tok.Vocab()), nil
}
