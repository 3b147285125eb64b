package data

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"unicode/utf8"
)

// llama2c's reserved ids, as in SentencePiece vocabularies: 0 unknown, 1 start, 2 end, then the 256 bytes.
const (
	llama2cBOS   = 1
	llama2cEOS   = 2
	llama2cBytes = 3
)

// llama2cTokenizer is the tokenizer of llama2.c (tokenizer.bin as its tokenizer.py exports it; encode in
// run.c): a SentencePiece byte-pair vocabulary whose pairs merge best score first, with a space in front of
// the text and single bytes for characters the vocabulary lacks.
type llama2cTokenizer struct {
	merger
	path   string
	pieces []string
	ids    map[string]int32
}

var _ Marker = (*llama2cTokenizer)(nil)

func openLlama2c(spec TokenizerSpec, _ string) (Tokenizer, error) {
	if spec.Path == "" {
		return nil, &KeyError{"data.tokenizer_path", "missing; for llama2c it names the tokenizer's .bin file"}
	}
	path, err := Find(spec.Path)
	if err != nil {
		return nil, fmt.Errorf("tokenizer llama2c: %w", err)
	}
	raw, err := readFile(path, maxTokenizerFile, nil)
	if err != nil {
		return nil, fmt.Errorf("tokenizer llama2c: %w", err)
	}
	t, err := parseLlama2c(raw)
	if err != nil {
		return nil, fmt.Errorf("tokenizer llama2c: %s: %w", path, err)
	}
	t.path = spec.Path
	return t, nil
}

// parseLlama2c reads int32 max_token_length, then per piece float32 score, int32 length, bytes, to the end.
func parseLlama2c(raw []byte) (*llama2cTokenizer, error) {
	const maxPiece = 1 << 10
	if len(raw) < 4 {
		return nil, fmt.Errorf("%d bytes, expected a header of 4", len(raw))
	}
	longest := binary.LittleEndian.Uint32(raw)
	if longest == 0 || longest > maxPiece {
		return nil, fmt.Errorf("the longest piece is %d bytes by the header, expected 1…%d", longest, maxPiece)
	}
	t := &llama2cTokenizer{ids: map[string]int32{}}
	var scores []float32
	for at := 4; at < len(raw); {
		if len(raw)-at < 8 {
			return nil, fmt.Errorf("piece %d is cut off at byte %d", len(t.pieces), at)
		}
		score := math.Float32frombits(binary.LittleEndian.Uint32(raw[at:]))
		n := binary.LittleEndian.Uint32(raw[at+4:])
		at += 8
		if n > maxPiece || int(n) > len(raw)-at {
			return nil, fmt.Errorf("piece %d has length %d at byte %d, the file has %d bytes left", len(t.pieces), n, at-4, len(raw)-at)
		}
		if score != score {
			return nil, fmt.Errorf("piece %d has the score NaN", len(t.pieces))
		}
		piece := string(raw[at : at+int(n)])
		at += int(n)
		if len(t.pieces) == maxVocab {
			return nil, fmt.Errorf("more than %d pieces", maxVocab)
		}
		if _, dup := t.ids[piece]; !dup {
			t.ids[piece] = int32(len(t.pieces))
		}
		t.pieces = append(t.pieces, piece)
		scores = append(scores, score)
	}
	if len(t.pieces) < llama2cBytes+256 {
		return nil, fmt.Errorf("%d pieces, expected at least %d: 3 markers and 256 bytes", len(t.pieces), llama2cBytes+256)
	}
	t.pairs = scoredPairs(t.pieces, t.ids, scores)
	return t, nil
}

// scoredPairs lists every way to put a piece together from two; a higher score is a lower rank.
func scoredPairs(pieces []string, ids map[string]int32, scores []float32) map[uint64]mergeRule {
	order := slices.Clone(scores)
	slices.SortFunc(order, func(a, b float32) int {
		switch {
		case a > b:
			return -1
		case a < b:
			return 1
		}
		return 0
	})
	order = slices.Compact(order)
	rank := make(map[float32]int32, len(order))
	for i, s := range order {
		rank[s] = int32(i)
	}
	pairs := map[uint64]mergeRule{}
	for piece, id := range ids {
		for cut := 1; cut < len(piece); cut++ {
			left, okL := ids[piece[:cut]]
			right, okR := ids[piece[cut:]]
			if okL && okR {
				pairs[pairKey(left, right)] = mergeRule{rank[scores[id]], id}
			}
		}
	}
	return pairs
}

func (t *llama2cTokenizer) Name() string        { return "llama2c" }
func (t *llama2cTokenizer) Vocab() int          { return len(t.pieces) }
func (t *llama2cTokenizer) Spec() TokenizerSpec { return TokenizerSpec{Name: "llama2c", Path: t.path} }
func (t *llama2cTokenizer) BOS() int32          { return llama2cBOS }
func (t *llama2cTokenizer) EOS() int32          { return llama2cEOS }

// Encode returns the ids of text without the start marker; an empty text has none.
func (t *llama2cTokenizer) Encode(text string) ([]int32, error) {
	if text == "" {
		return nil, nil
	}
	var s mergeScratch
	if space, ok := t.ids[" "]; ok {
		s.ids = append(s.ids, space)
	}
	for i := 0; i < len(text); {
		_, n := utf8.DecodeRuneInString(text[i:])
		if id, ok := t.ids[text[i:i+n]]; ok {
			s.ids = append(s.ids, id)
		} else {
			for _, b := range []byte(text[i : i+n]) {
				s.ids = append(s.ids, llama2cBytes+int32(b))
			}
		}
		i += n
	}
	return t.apply(make([]int32, 0, len(s.ids)/2), &s), nil
}

// Decode leaves out the markers, and the space that Encode puts in front.
func (t *llama2cTokenizer) Decode(ids []int32) string { return decodePieces(t, ids) }

func (t *llama2cTokenizer) piece(id int32) (string, bool) {
	switch {
	case id < llama2cBytes || int(id) >= len(t.pieces):
		return "", true
	case id < llama2cBytes+256:
		return string([]byte{byte(id - llama2cBytes)}), true
	}
	return t.pieces[id], true
}
