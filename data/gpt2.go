package data

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"unicode"
	"unicode/utf8"
)

// gpt2Folder is where encoder.json and vocab.bpe are looked up unless tokenizer_path says otherwise.
const gpt2Folder = "gpt2-bpe"

// Limits on tokenizer files: GPT-2's are 1.0 and 0.5 MB.
const (
	maxTokenizerFile = 64 << 20
	maxVocab         = 1 << 20
)

// gpt2Tokenizer is GPT-2's byte-level byte-pair encoding (Radford et al. 2019, section 2.2; encoder.py of
// openai/gpt-2). It reads the published files itself rather than linking a library's copy of them: that
// would cost every run its start-up time and memory, also those that use characters.
type gpt2Tokenizer struct {
	merger
	path   string
	pieces []string   // raw bytes by id
	bytes  [256]int32 // id of each single byte
	eot    int32      // <|endoftext|>
}

var _ Marker = (*gpt2Tokenizer)(nil)

func openGPT2(spec TokenizerSpec, _ string) (Tokenizer, error) {
	folder := spec.Path
	if folder == "" {
		folder = gpt2Folder
	}
	names := []string{"encoder.json", "vocab.bpe"}
	if _, err := Find(filepath.Join(folder, names[0])); err != nil {
		if _, err := Find(filepath.Join(folder, "vocab.json")); err == nil {
			names = []string{"vocab.json", "merges.txt"} // the same files in Hugging Face's folders
		}
	}
	var raw [2][]byte
	for i, name := range names {
		path, err := Find(filepath.Join(folder, name))
		if err == nil {
			raw[i], err = readFile(path, maxTokenizerFile, nil)
		}
		if err != nil {
			return nil, fmt.Errorf("tokenizer gpt2: %w", err)
		}
	}
	t, err := parseGPT2(raw[0], raw[1])
	if err != nil {
		return nil, fmt.Errorf("tokenizer gpt2: %s: %w", folder, err)
	}
	t.path = spec.Path
	return t, nil
}

// byteAlphabet maps each byte to the printable character that stands for it in the files, as
// bytes_to_unicode of encoder.py: printable Latin-1 for itself, the other bytes as U+0100 onward.
func byteAlphabet() (toRune [256]rune, toByte map[rune]byte) {
	toByte = make(map[rune]byte, 256)
	spare := rune(256)
	for b := range 256 {
		r := rune(b)
		if !(b >= '!' && b <= '~' || b >= 0xA1 && b <= 0xAC || b >= 0xAE) {
			r = spare
			spare++
		}
		toRune[b], toByte[r] = r, byte(b)
	}
	return toRune, toByte
}

// parseGPT2 reads encoder.json (piece → id) and vocab.bpe (one merge per line, best first).
func parseGPT2(encoder, merges []byte) (*gpt2Tokenizer, error) {
	var ids map[string]int32
	if err := json.Unmarshal(encoder, &ids); err != nil {
		return nil, fmt.Errorf("encoder.json: %w", err)
	}
	if len(ids) == 0 || len(ids) > maxVocab {
		return nil, fmt.Errorf("encoder.json: %d pieces, expected 1…%d", len(ids), maxVocab)
	}
	toRune, toByte := byteAlphabet()
	t := &gpt2Tokenizer{pieces: make([]string, len(ids)), eot: -1}
	var raw []byte
	for piece, id := range ids {
		if id < 0 || int(id) >= len(ids) || t.pieces[id] != "" {
			return nil, fmt.Errorf("encoder.json: piece %q has id %d; ids must be 0…%d, each once", piece, id, len(ids)-1)
		}
		raw = raw[:0]
		for _, r := range piece {
			b, ok := toByte[r]
			if !ok {
				return nil, fmt.Errorf("encoder.json: piece %q has the character %q, which stands for no byte", piece, r)
			}
			raw = append(raw, b)
		}
		if len(raw) == 0 {
			return nil, fmt.Errorf("encoder.json: id %d is the empty piece", id)
		}
		t.pieces[id] = string(raw)
	}
	if id, ok := ids["<|endoftext|>"]; ok {
		t.eot = id
	}
	for b, r := range toRune {
		id, ok := ids[string(r)]
		if !ok {
			return nil, fmt.Errorf("encoder.json: no piece for the single byte 0x%02x", b)
		}
		t.bytes[b] = id
	}
	t.pairs = make(map[uint64]mergeRule, len(ids))
	line := 0
	for text := range strings.Lines(string(merges)) {
		line++
		text = strings.TrimRight(text, "\r\n")
		if text == "" || line == 1 && strings.HasPrefix(text, "#version") {
			continue
		}
		left, right, ok := strings.Cut(text, " ")
		a, okA := ids[left]
		b, okB := ids[right]
		id, okC := ids[left+right]
		if !ok || !okA || !okB || !okC {
			return nil, fmt.Errorf("vocab.bpe:%d: %q is not a merge of two pieces of encoder.json into a third", line, text)
		}
		if _, dup := t.pairs[pairKey(a, b)]; !dup {
			t.pairs[pairKey(a, b)] = mergeRule{int32(line), id}
		}
	}
	return t, nil
}

func (t *gpt2Tokenizer) Name() string        { return "gpt2" }
func (t *gpt2Tokenizer) Vocab() int          { return len(t.pieces) }
func (t *gpt2Tokenizer) Spec() TokenizerSpec { return TokenizerSpec{Name: "gpt2", Path: t.path} }
func (t *gpt2Tokenizer) BOS() int32          { return t.eot }
func (t *gpt2Tokenizer) EOS() int32          { return t.eot }

// Encode splits text into words (gpt2Word) and merges the bytes of each. Any bytes can be encoded; the
// marker <|endoftext|> in a text is plain text.
func (t *gpt2Tokenizer) Encode(text string) ([]int32, error) {
	ids := make([]int32, 0, len(text)/3)
	words := map[string][]int32{} // texts repeat their words: merge each once
	var scratch mergeScratch
	for len(text) > 0 {
		word := text[:gpt2Word(text)]
		text = text[len(word):]
		known, ok := words[word]
		if !ok {
			scratch.ids = scratch.ids[:0]
			for i := range len(word) {
				scratch.ids = append(scratch.ids, t.bytes[word[i]])
			}
			known = t.apply(nil, &scratch)
			if len(words) < maxVocab {
				words[word] = known
			}
		}
		ids = append(ids, known...)
	}
	return ids, nil
}

func (t *gpt2Tokenizer) Decode(ids []int32) string { return decodePieces(t, ids) }

func (t *gpt2Tokenizer) piece(id int32) (string, bool) {
	if id < 0 || int(id) >= len(t.pieces) {
		return "", false
	}
	return t.pieces[id], false
}

// Classes of characters in GPT-2's pattern.
const (
	classOther = iota
	classLetter
	classNumber
	classSpace
)

func classOf(r rune) int {
	switch {
	case unicode.IsLetter(r):
		return classLetter
	case unicode.IsNumber(r):
		return classNumber
	case unicode.IsSpace(r):
		return classSpace
	}
	return classOther
}

// gpt2Word returns the length in bytes of the first match of GPT-2's pattern in a text that is not empty:
//
//	's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
func gpt2Word(text string) int {
	if text[0] == '\'' {
		for _, suffix := range [...]string{"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"} {
			if strings.HasPrefix(text, suffix) {
				return len(suffix)
			}
		}
	}
	start := 0
	if text[0] == ' ' && len(text) > 1 {
		start = 1
	}
	r, n := utf8.DecodeRuneInString(text[start:])
	class := classOf(r)
	if class != classSpace { // an optional space and a run of one class
		end := start + n
		for end < len(text) {
			r, n := utf8.DecodeRuneInString(text[end:])
			if classOf(r) != class {
				break
			}
			end += n
		}
		return end
	}
	// Spaces: all of them at the end of the text, else all but the last, which belongs to the next word.
	end, last := 0, 0
	for end < len(text) {
		r, n := utf8.DecodeRuneInString(text[end:])
		if classOf(r) != classSpace {
			if end == last { // a single space character
				return end
			}
			return end - last
		}
		end, last = end+n, n
	}
	return end
}
