package data

import (
	"encoding/binary"
	"fmt"

	"ringo/runtime/tensor"
)

// tokenStore is a sequence of token ids in the fewest bytes that hold the vocabulary: 1, 2 or 4 each,
// little-endian.
type tokenStore struct {
	raw   []byte
	width int
}

// widthFor returns the bytes per id that hold ids 0…vocab−1.
func widthFor(vocab int) int {
	switch {
	case vocab <= 1<<8:
		return 1
	case vocab <= 1<<16:
		return 2
	}
	return 4
}

// storeTokens packs ids below vocab.
func storeTokens(ids []int32, vocab int) tokenStore {
	s := tokenStore{width: widthFor(vocab)}
	s.raw = make([]byte, len(ids)*s.width)
	for i, id := range ids {
		switch s.width {
		case 1:
			s.raw[i] = byte(id)
		case 2:
			binary.LittleEndian.PutUint16(s.raw[2*i:], uint16(id))
		default:
			binary.LittleEndian.PutUint32(s.raw[4*i:], uint32(id))
		}
	}
	return s
}

func (s tokenStore) len() int { return len(s.raw) / s.width }

func (s tokenStore) slice(lo, hi int) tokenStore {
	return tokenStore{s.raw[lo*s.width : hi*s.width : hi*s.width], s.width}
}

// load widens the ids that start at offset to int32.
func (s tokenStore) load(dst []int32, offset int) {
	src := s.raw[offset*s.width : (offset+len(dst))*s.width]
	switch s.width {
	case 1:
		for i, b := range src {
			dst[i] = int32(b)
		}
	case 2:
		for i := range dst {
			dst[i] = int32(binary.LittleEndian.Uint16(src[2*i:]))
		}
	default:
		for i := range dst {
			dst[i] = int32(binary.LittleEndian.Uint32(src[4*i:]))
		}
	}
}

// textFields are the fields of a window of the given number of tokens.
func textFields(context int) []Field {
	return []Field{
		{"tokens", tensor.I32, tensor.Shape{context}},
		{"targets", tensor.I32, tensor.Shape{context}},
	}
}

// textSet serves windows of a token stream held in memory. Sample i starts at token i·context; tokens after
// the last whole window are used by random sampling only.
type textSet struct {
	store   tokenStore
	context int
	fields  []Field
	info    Info
}

var _ Windowed = (*textSet)(nil)

// newTextSet refuses a stream too short for one window and its last target.
func newTextSet(store tokenStore, context int, part string, info Info) (*textSet, error) {
	if store.len() < context+1 {
		return nil, fmt.Errorf("the %s part has %d tokens, a window of data.context %d needs at least %d: take a longer text, a smaller context or another split",
			part, store.len(), context, context+1)
	}
	info.Kind, info.Tokens = KindText, store.len()
	if info.Sampling == "" {
		info.Sampling = SampleRandom
	}
	return &textSet{store, context, textFields(context), info}, nil
}

func (t *textSet) Len() int        { return (t.store.len() - 1) / t.context }
func (t *textSet) Fields() []Field { return t.fields }
func (t *textSet) Info() Info      { return t.info }
func (t *textSet) Offsets() int    { return t.store.len() - t.context }

func (t *textSet) Read(i int, _ *tensor.Philox, dst [][]byte) error {
	if err := checkRead(i, t.Len(), t.fields, dst); err != nil {
		return err
	}
	return t.ReadAt(i*t.context, dst)
}

func (t *textSet) ReadAt(offset int, dst [][]byte) error {
	if err := checkRead(offset, t.Offsets(), t.fields, dst); err != nil {
		return err
	}
	t.store.load(tensor.View[int32](dst[0]), offset)
	t.store.load(tensor.View[int32](dst[1]), offset+1)
	return nil
}
