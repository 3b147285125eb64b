package data

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestVocabulary lays every tokenizer open and puts texts together again from its pieces.
func TestVocabulary(t *testing.T) {
	t.Parallel()
	const text = "Once upon a time"
	for _, c := range []struct {
		spec   TokenizerSpec
		pieces []string // printable ones, by id
		merges int
		marks  [2]int32
	}{
		{TokenizerSpec{Name: "byte"}, []string{0: "Ā", ' ': "Ġ", 'a': "a", 255: "ÿ"}, 0, [2]int32{-1, -1}},
		{TokenizerSpec{Name: "char", Chars: text + "é"}, []string{0: " ", 1: "O", 12: "é"}, 0, [2]int32{-1, -1}},
		{TokenizerSpec{Name: "gpt2", Path: shared(t, "gpt2-bpe")}, []string{0: "!", 220: "Ġ", 50256: "<|endoftext|>"}, 50000, [2]int32{50256, 50256}},
		{TokenizerSpec{Name: "llama2c", Path: shared(t, "stories260k/tok512.bin")}, []string{0: "<unk>", 1: "<s>", 2: "</s>", 13: "<0x0A>", 260: "he"}, 165, [2]int32{1, 2}},
	} {
		tok := mustOpen(t, c.spec)
		v, ok := OpenVocabulary(tok)
		require.True(t, ok)
		require.Equal(t, c.spec.Name, v.Kind)
		require.Len(t, v.Pieces, tok.Vocab())
		require.GreaterOrEqual(t, len(v.Merges), c.merges)
		require.Equal(t, c.marks, [2]int32{v.BOS, v.EOS})
		names, err := v.Printable()
		require.NoError(t, err)
		for id, want := range c.pieces {
			if want != "" {
				require.Equal(t, want, names[id], "%s %d", v.Kind, id)
			}
		}
		for i, m := range v.Merges {
			require.Equal(t, v.Pieces[m.Result], v.Pieces[m.Left]+v.Pieces[m.Right])
			require.False(t, i > 0 && m.Rank < v.Merges[i-1].Rank)
		}
	}
	_, ok := OpenVocabulary(foreign{})
	require.False(t, ok)
}

// foreign is a tokenizer of another package.
type foreign struct{ Tokenizer }

func (foreign) Name() string { return "foreign" }
