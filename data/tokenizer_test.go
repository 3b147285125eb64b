package data

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"github.com/tiktoken-go/tokenizer"
	"pgregory.net/rapid"
)

func mustOpen(t testing.TB, spec TokenizerSpec) Tokenizer {
	t.Helper()
	tok, err := OpenTokenizer(spec)
	require.NoError(t, err)
	return tok
}

func gpt2(t testing.TB) Tokenizer {
	return mustOpen(t, TokenizerSpec{Name: "gpt2", Path: filepath.Dir(shared(t, "gpt2-bpe/vocab.bpe"))})
}

func llama(t testing.TB) Tokenizer {
	return mustOpen(t, TokenizerSpec{Name: "llama2c", Path: shared(t, "stories260k/tok512.bin")})
}

func TestCharVocabularyIsSorted(t *testing.T) {
	t.Parallel()
	tok, err := openTokenizer(TokenizerSpec{Name: "char"}, "bé a\nb")
	require.NoError(t, err)
	require.Equal(t, 5, tok.Vocab())
	ids, err := tok.Encode("\n abé")
	require.NoError(t, err)
	require.Equal(t, []int32{0, 1, 2, 3, 4}, ids)
	again := mustOpen(t, tok.Spec())
	require.Equal(t, "é\nb", again.Decode([]int32{4, 0, 3, 99, -1}))
	_, err = again.Encode("ab\u4e16")
	require.ErrorContains(t, err, "character '世' (U+4E16) at offset 2 is not among the 5 characters")
	_, err = again.Encode("a\xff")
	require.ErrorContains(t, err, "byte 0xff at offset 1 is not UTF-8")
	_, err = openTokenizer(TokenizerSpec{Name: "char"}, "ab\xffc")
	require.ErrorContains(t, err, "not UTF-8 (byte 0xff at offset 2)")
	_, err = OpenTokenizer(TokenizerSpec{Name: "char"})
	require.ErrorContains(t, err, "no text")
	_, err = OpenTokenizer(TokenizerSpec{Name: "words"})
	require.ErrorContains(t, err, "unknown, expected one of byte, char, gpt2, llama2c")
}

func TestGPT2AgreesWithTiktoken(t *testing.T) {
	t.Parallel()
	ours := gpt2(t)
	theirs, err := tokenizer.Get(tokenizer.R50kBase)
	require.NoError(t, err)
	check := func(text string) {
		a, err := ours.Encode(text)
		require.NoError(t, err)
		b, _, err := theirs.Encode(text)
		require.NoError(t, err)
		require.Len(t, a, len(b), "%q", text)
		for i := range a {
			require.Equal(t, int32(b[i]), a[i], "%q", text)
		}
		require.Equal(t, text, ours.Decode(a))
	}
	for _, text := range []string{
		"", "a", " ", "  ", "\n", " \n", "x  y", "x \n\n y  ", "it's we'll they'd 've 'RE 'x '", "  'tis", "日本語 テスト", "naïve café №5 ½ ²",
		"tab\tand\u00a0nbsp\u3000wide", "\u2028x\u0085 y", "don''t ''s", strings.Repeat("a", 5000), strings.Repeat(" ", 300) + "z",
		strings.Repeat("ab ", 50) + "\r\n\r\n", "😀😀 🏳️‍🌈!", "1234567890 12a34", "func main() {\n\treturn x[i]++ // ok\n}\n", "e\u0301 ̈",
	} {
		check(text)
	}
	rapid.Check(t, func(rt *rapid.T) {
		parts := rapid.SliceOf(rapid.SampledFrom([]string{" ", "  ", "\n", "\t", "'", "s", "ll", "re", "the", "The", "9", "42", ".", "...", "é", "世", "\u00a0", "_", "😀"})).Draw(rt, "parts")
		check(strings.Join(parts, ""))
	})
	text, err := os.ReadFile(shared(t, "tinyshakespeare/input.txt"))
	require.NoError(t, err)
	check(string(text[:200_000]))
}

// The counts that nanoGPT's data/shakespeare/prepare.py prints.
func TestGPT2CountsOnShakespeare(t *testing.T) {
	t.Parallel()
	folder := filepath.Dir(shared(t, "gpt2-bpe/vocab.bpe"))
	train, valid, err := Open(Config{Source: "text", Path: shared(t, "tinyshakespeare/input.txt"), Tokenizer: "gpt2", TokenizerPath: folder, Context: 1024})
	require.NoError(t, err)
	require.Equal(t, 301_966, train.Info().Tokens)
	require.Equal(t, 36_059, valid.Info().Tokens)
	require.Equal(t, 50_257, train.Info().Vocab)
}

// Whatever bytes come in come out again, through the whole and through the stream.
func TestTokenizersRoundTrip(t *testing.T) {
	t.Parallel()
	for _, tok := range []Tokenizer{mustOpen(t, TokenizerSpec{Name: "byte"}), gpt2(t), llama(t)} {
		rapid.Check(t, func(rt *rapid.T) {
			text := rapid.OneOf(rapid.String(), rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) })).Draw(rt, "text")
			ids, err := tok.Encode(text)
			require.NoError(rt, err)
			require.Equal(rt, text, tok.Decode(ids), tok.Name())
			d := Decoder{Tokenizer: tok}
			out := ""
			for _, id := range ids {
				piece := d.Add(id)
				if utf8.ValidString(text) {
					require.True(rt, utf8.ValidString(piece), "no half characters")
				}
				out += piece
			}
			require.Equal(rt, text, out+d.Flush(), tok.Name())
		})
		require.NotPanics(t, func() { tok.Decode([]int32{-5, 1 << 30, math.MaxInt32, math.MinInt32}) })
	}
}

// The reference text of the published checkpoint decodes from its ids and, encoded, gives them again.
func TestLlama2cReproducesTheReference(t *testing.T) {
	t.Parallel()
	tok := llama(t)
	raw, err := os.ReadFile(shared(t, "stories260k/reference.json"))
	require.NoError(t, err)
	var ref struct {
		IDs []int32 `json:"token_ids"`
	}
	require.NoError(t, json.Unmarshal(raw, &ref))
	want, err := os.ReadFile(shared(t, "stories260k/expected_greedy.txt"))
	require.NoError(t, err)
	require.Equal(t, 512, tok.Vocab())
	require.Equal(t, strings.TrimSpace(string(want)), strings.TrimSpace(tok.Decode(ref.IDs)))
	again, err := tok.Encode(tok.Decode(ref.IDs))
	require.NoError(t, err)
	require.Equal(t, ref.IDs, again)
	require.Equal(t, int32(1), tok.(Marker).BOS())
}

// The heap must find what the plain loop of run.c finds.
func TestMergerAgreesWithTheLoop(t *testing.T) {
	t.Parallel()
	tok := llama(t).(*llama2cTokenizer)
	rapid.Check(t, func(rt *rapid.T) {
		var s mergeScratch
		s.ids = rapid.SliceOf(rapid.Int32Range(259, 511)).Draw(rt, "ids")
		loop := append([]int32{}, s.ids...)
		for {
			best, at := mergeRule{rank: math.MaxInt32}, -1
			for i := range len(loop) - 1 {
				if r, ok := tok.pairs[pairKey(loop[i], loop[i+1])]; ok && r.rank < best.rank {
					best, at = r, i
				}
			}
			if at < 0 {
				break
			}
			loop = append(append(loop[:at:at], best.id), loop[at+2:]...)
		}
		require.Equal(rt, loop, append([]int32{}, tok.apply(nil, &s)...))
	})
}

// llama2cFile builds a tokenizer file with the markers, the bytes, and the given pieces.
func llama2cFile(pieces ...string) []byte {
	raw := binary.LittleEndian.AppendUint32(nil, 8)
	add := func(s string, score float32) {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(score))
		raw = binary.LittleEndian.AppendUint32(raw, uint32(len(s)))
		raw = append(raw, s...)
	}
	for range 3 + 256 {
		add("<x>", 0)
	}
	for i, p := range pieces {
		add(p, -float32(i))
	}
	return raw
}

func TestDamagedTokenizerFiles(t *testing.T) {
	t.Parallel()
	good := llama2cFile("a", "b", "ab")
	_, err := parseLlama2c(good)
	require.NoError(t, err)
	for want, raw := range map[string][]byte{
		"expected a header of 4":        good[:3],
		"is cut off at byte":            append(good[:len(good):len(good)], 0, 0),
		"the file has 1 bytes left":     good[:len(good)-1],
		"pieces, expected at least 259": good[:4+5*11],
		"by the header":                 append([]byte{0, 0, 0, 0}, good[4:]...),
	} {
		_, err := parseLlama2c(raw)
		require.ErrorContains(t, err, want)
	}
	path := write(t, "tok.bin", good[:3])
	_, err = OpenTokenizer(TokenizerSpec{Name: "llama2c", Path: path})
	require.ErrorContains(t, err, path)
	_, err = OpenTokenizer(TokenizerSpec{Name: "llama2c"})
	require.ErrorContains(t, err, "data.tokenizer_path: missing")
	_, err = OpenTokenizer(TokenizerSpec{Name: "gpt2", Path: "gpt2-bpe/no"})
	require.ErrorContains(t, err, "ringo data fetch gpt2-bpe")

	for want, files := range map[string][2]string{
		"encoder.json: ":                        {"[1]", ""},
		"0 pieces":                              {"{}", ""},
		"ids must be 0…0":                       {`{"a":7}`, ""},
		"which stands for no byte":              {`{"世":0}`, ""},
		"no piece for the single byte 0x00":     {`{"a":0}`, ""},
		"vocab.bpe:2: \"q\" is not a merge of ": {encoderJSON(), "#version: 0.2\nq\n"},
	} {
		_, err := parseGPT2([]byte(files[0]), []byte(files[1]))
		require.ErrorContains(t, err, want)
	}
}

// encoderJSON is the smallest valid vocabulary: the single bytes.
func encoderJSON() string {
	toRune, _ := byteAlphabet()
	ids := map[string]int{}
	for b, r := range toRune {
		ids[string(r)] = b
	}
	raw, err := json.Marshal(ids)
	if err != nil {
		panic(err)
	}
	return string(raw)
}

func BenchmarkOpenShakespeareChar(b *testing.B) {
	path := shared(b, "tinyshakespeare/input.txt")
	for b.Loop() {
		if _, _, err := Open(Config{Source: "text", Path: path, Context: 64}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpenGPT2(b *testing.B) {
	for b.Loop() {
		gpt2(b)
	}
}

func BenchmarkEncodeGPT2(b *testing.B) {
	text, err := os.ReadFile(shared(b, "tinyshakespeare/input.txt"))
	require.NoError(b, err)
	tok := gpt2(b)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		if _, err := tok.Encode(string(text)); err != nil {
			b.Fatal(err)
		}
	}
}
