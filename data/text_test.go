package data

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"ringo/runtime/tensor"
)

func TestShakespeareByCharacter(t *testing.T) {
	t.Parallel()
	train, valid, err := Open(Config{Source: "text", Path: shared(t, "tinyshakespeare/input.txt"), Context: 64})
	require.NoError(t, err)
	info := train.Info()
	require.Equal(t, 65, info.Vocab)
	require.Equal(t, 1_003_854, info.Tokens)
	require.Equal(t, 1_115_394-1_003_854, valid.Info().Tokens)
	require.Equal(t, "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed", info.Hash)
	b := readSample(t, train, 0)
	require.True(t, strings.HasPrefix(info.Tokenizer.Decode(tensor.View[int32](b[0])), "First Citizen:\nBefore we proceed"))
	require.True(t, strings.HasPrefix(info.Tokenizer.Decode(tensor.View[int32](b[1])), "irst Citizen:\n"))
	next := readSample(t, train, 1)
	require.Equal(t, tensor.View[int32](b[1])[63], tensor.View[int32](next[0])[0], "windows touch")
	w := train.(Windowed)
	require.Equal(t, 1_003_854-64, w.Offsets())
	require.NoError(t, w.ReadAt(w.Offsets()-1, b))
	require.Error(t, w.ReadAt(w.Offsets(), b))
}

func TestGzipTextIsTheSame(t *testing.T) {
	text := letters(3000)
	a, _, err := Open(Config{Source: "text", Path: write(t, "a.txt", text), Context: 8})
	require.NoError(t, err)
	b, _, err := Open(Config{Source: "text", Path: write(t, "a.txt.gz", zipped(t, text)), Context: 8})
	require.NoError(t, err)
	require.Equal(t, readSample(t, a, 7), readSample(t, b, 7))
}

func TestBadTextIsOneSentence(t *testing.T) {
	empty, short := write(t, "e.txt", nil), write(t, "s.txt", letters(50))
	for want, cfg := range map[string]Config{
		"the text is empty": {Path: empty, Context: 8},
		"the training part has 45 tokens, a window of data.context 64 needs at least 65": {Path: short, Context: 64},
		"the validation part has 5 tokens":                                               {Path: short, Context: 8},
		"is a folder, expected a file":                                                   {Path: t.TempDir(), Context: 8},
		"no such.txt: not found":                                                         {Path: "no such.txt", Context: 8},
		"not UTF-8":                                                                      {Path: write(t, "b.txt", []byte("ab\xfe\xffcd")), Context: 1},
		"e.txt: the text is empty":                                                       {Path: short, Test: empty, Context: 8},
	} {
		cfg.Source = "text"
		_, _, err := Open(cfg)
		require.ErrorContains(t, err, want)
		require.NotContains(t, err.Error(), "\n")
	}
}

func TestTestFileValidates(t *testing.T) {
	cfg := Config{Source: "text", Path: write(t, "a.txt", []byte("abcabcabc")), Test: write(t, "b.txt", []byte("xyzxyz")), Context: 2, Limit: 5}
	train, valid, err := Open(cfg)
	require.NoError(t, err)
	require.Equal(t, []int{5, 6, 6}, []int{train.Info().Tokens, valid.Info().Tokens, train.Info().Vocab})
}

func TestGoLibrary(t *testing.T) {
	t.Parallel()
	train, valid, err := Open(Config{Source: "go-stdlib", Context: 128})
	require.NoError(t, err)
	info := train.Info()
	total := info.Tokens + valid.Info().Tokens
	require.True(t, total > 1_000_000 && total < 6_000_000, "%d characters", total)
	require.InDelta(t, 0.1, float64(valid.Info().Tokens)/float64(total), 0.05)
	require.LessOrEqual(t, info.Vocab, 128)
	require.NotContains(t, info.Tokenizer.Decode(tensor.View[int32](readSample(t, train, 0)[0])), "Copyright")
	again, _, err := Open(Config{Source: "go-stdlib", Context: 128})
	require.NoError(t, err)
	require.Equal(t, info.Hash, again.Info().Hash)
	_, _, err = Open(Config{Source: "go-stdlib", Context: 128, Path: "/tmp"})
	require.ErrorContains(t, err, "has no src/fmt folder")
}

func uint16s(ids ...uint16) []byte {
	var raw []byte
	for _, id := range ids {
		raw = binary.LittleEndian.AppendUint16(raw, id)
	}
	return raw
}

// llmcFile has llm.c's header.
func llmcFile(magic, version, count uint32, body []byte) []byte {
	head := make([]byte, llmcHeader)
	binary.LittleEndian.PutUint32(head, magic)
	binary.LittleEndian.PutUint32(head[4:], version)
	binary.LittleEndian.PutUint32(head[8:], count)
	return append(head, body...)
}

func TestTokenFiles(t *testing.T) {
	dir := t.TempDir()
	file := func(name string, raw []byte) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), raw, 0o644))
	}
	file("train_0.bin", uint16s(1, 2, 3, 4, 5, 6, 7))
	file("train_1.bin", uint16s(99)) // too short for a window: skipped
	file("train_2.bin", llmcFile(llmcMagicGPT2, 1, 4, uint16s(11, 12, 13, 14)))
	file("val.bin", uint16s(21, 22, 23, 24, 25))
	train, valid, err := Open(Config{Source: "tokens", Path: dir, Vocab: 100, Context: 3})
	require.NoError(t, err)
	defer Close(train)
	defer Close(valid)
	require.Equal(t, []int{3, 1}, []int{train.Len(), valid.Len()})
	for i, want := range [][]int32{{1, 2, 3, 2, 3, 4}, {4, 5, 6, 5, 6, 7}, {11, 12, 13, 12, 13, 14}} {
		b := readSample(t, train, i)
		require.Equal(t, want, append(append([]int32{}, tensor.View[int32](b[0])...), tensor.View[int32](b[1])...))
	}
	w := train.(Windowed)
	require.Equal(t, 4+0+1, w.Offsets())
	b := newBuffers(train.Fields())
	require.NoError(t, w.ReadAt(4, b))
	require.Equal(t, []int32{11, 12, 13}, tensor.View[int32](b[0]))
	require.Equal(t, []int32{22, 23, 24}, tensor.View[int32](readSample(t, valid, 0)[1]))

	split, rest, err := Open(Config{Source: "tokens", Path: filepath.Join(dir, "train_*.bin"), Vocab: 100, Context: 1, Split: 0.5})
	require.NoError(t, err)
	defer Close(split)
	defer Close(rest)
	require.Equal(t, []int{6, 6}, []int{split.Info().Tokens, rest.Info().Tokens})
	require.Equal(t, int32(11), tensor.View[int32](readSample(t, rest, 0)[0])[0])

	wide, _, err := Open(Config{Source: "tokens", Path: write(t, "w.bin", llmcFile(llmcMagicLlama3, 7, 4, make([]byte, 16))), Vocab: 100, Context: 1, Split: 0.5})
	require.NoError(t, err)
	defer Close(wide)
	require.Equal(t, 2, wide.Info().Tokens)
}

func TestBadTokenFilesAreOneSentence(t *testing.T) {
	t.Parallel()
	for want, raw := range map[string][]byte{
		"the token file is empty":                       nil,
		"3 bytes are no whole number of 2-byte tokens":  {1, 2, 3},
		"the header announces 9 tokens":                 llmcFile(llmcMagicGPT2, 1, 9, uint16s(1, 2)),
		"token file of version 3":                       llmcFile(llmcMagicGPT2, 3, 2, uint16s(1, 2)),
		"needs at least 9":                              uint16s(1, 2, 3),
		"the header announces 4294967295 tokens, the f": llmcFile(llmcMagicLlama3, 7, 0xffffffff, nil),
	} {
		_, _, err := Open(Config{Source: "tokens", Path: write(t, "t.bin", raw), Vocab: 10, Context: 8})
		require.ErrorContains(t, err, want)
	}
	path := write(t, "t.bin", uint16s(1, 2, 3, 50, 1, 1, 1, 1, 1))
	_, _, err := Open(Config{Source: "tokens", Path: path, Context: 1})
	require.ErrorContains(t, err, "data.vocab: missing")
	train, _, err := Open(Config{Source: "tokens", Path: path, Vocab: 10, Context: 1, Split: 0.5})
	require.NoError(t, err)
	defer Close(train)
	require.ErrorContains(t, train.Read(2, nil, newBuffers(train.Fields())), "token 50 at byte 6 is outside the vocabulary of 10")
}

func TestPreparedTextIsTheSame(t *testing.T) {
	cfg := Config{Source: "text", Path: write(t, "a.txt", letters(3000)), Tokenizer: "byte", Context: 16}
	prepared, err := Prepare(cfg, t.TempDir())
	require.NoError(t, err)
	prepared.Context = 16
	a, b, err := Open(cfg)
	require.NoError(t, err)
	c, d, err := Open(prepared)
	require.NoError(t, err)
	defer Close(c)
	defer Close(d)
	for _, pair := range [][2]Dataset{{a, c}, {b, d}} {
		require.Equal(t, pair[0].Info().Tokens, pair[1].Info().Tokens)
		for i := range pair[0].Len() {
			require.Equal(t, readSample(t, pair[0], i), readSample(t, pair[1], i))
		}
	}
	require.Equal(t, "byte", c.Info().Tokenizer.Name())
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "val.bin"), 0o777))
	_, err = Prepare(cfg, dir)
	require.ErrorContains(t, err, "val.bin is a folder, expected a file's name")
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, left, 1, "train.bin appears with val.bin or not at all")
	_, err = Prepare(Config{Source: "synthetic", Shape: []int{1, 2, 2}}, t.TempDir())
	require.ErrorContains(t, err, "only texts can be prepared")
}
