package safetensors

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"ringo/runtime/tensor"
)

func sample() []Item {
	return []Item{
		FromTensor("w", tensor.Of(tensor.Shape{2, 3}, float32(1), 2, 3, 4, 5, 6)),
		FromTensor("ids", tensor.Of(tensor.Shape{3}, int64(7), 8, math.MaxInt64)),
		FromTensor("empty", tensor.New(tensor.F32, 0, 4)),
		FromTensor("scalar", tensor.Of(tensor.Shape{}, 2.5)),
		FromTensor("a", tensor.Of(tensor.Shape{3}, uint16(1), 2, 3)),
		FromTensor("flag", tensor.New(tensor.Bool, 1)),
	}
}

func write(t testing.TB, meta map[string]string, items []Item) []byte {
	t.Helper()
	var b bytes.Buffer
	err := Write(&b, meta, items)
	require.NoError(t, err)
	return b.Bytes()
}

func TestRoundTripAndCanonicalOrder(t *testing.T) {
	t.Parallel()
	items, meta := sample(), map[string]string{"format": "ringo", "a\"b": "ü"}
	raw := write(t, meta, items)
	for i, j := 0, len(items)-1; i < j; i, j = i+1, j-1 {
		items[i], items[j] = items[j], items[i]
	}
	require.Equal(t, raw, write(t, meta, items), "the order of the caller must not show")
	n := binary.LittleEndian.Uint64(raw)
	require.Zero(t, (8+n)%tensor.Align)

	path := filepath.Join(t.TempDir(), "x.safetensors")
	require.NoError(t, os.WriteFile(path, raw, 0o600))
	f, err := Open(path)
	require.NoError(t, err)
	require.Equal(t, meta, f.Metadata)
	for _, it := range items {
		got, err := f.Tensor(it.Name)
		require.NoError(t, err)
		require.Equal(t, it.DType, got.DType)
		require.True(t, it.Shape.Equal(got.Shape))
		require.Equal(t, len(it.Data), len(got.Bytes()))
		require.True(t, bytes.Equal(it.Data, got.Bytes()))
	}
	_, err = f.Tensor("nope")
	require.ErrorContains(t, err, `no tensor "nope"`)
	require.NoError(t, f.Close())
}

func TestWriteRefuses(t *testing.T) {
	t.Parallel()
	w := FromTensor("w", tensor.New(tensor.F32, 2))
	short := w
	short.Name, short.Data = "short", w.Data[:4]
	broken := Item{Name: "broken", DType: tensor.F32, Shape: tensor.Shape{1}, Fill: func(io.Writer) error { return io.ErrClosedPipe }}
	for want, items := range map[string][]Item{
		"given twice":           {w, w},
		"4 bytes written":       {short},
		"no place":              {{Name: "x"}},
		"closed pipe":           {broken},
		`"__metadata__": the n`: {{Name: "__metadata__", DType: tensor.F32}},
	} {
		err := Write(io.Discard, nil, items)
		require.ErrorContains(t, err, want)
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	good := write(t, nil, sample())
	with := func(head string, data int) []byte {
		b := binary.LittleEndian.AppendUint64(nil, uint64(len(head)))
		return append(append(b, head...), make([]byte, data)...)
	}
	one := func(dtype, shape, off string) string {
		return fmt.Sprintf(`{"t":{"dtype":"%s","shape":%s,"data_offsets":%s}}`, dtype, shape, off)
	}
	for name, c := range map[string]struct {
		raw  []byte
		want string
	}{
		"short":      {good[:5], "at least 8"},
		"cut header": {good[:100], "cut off"},
		"cut data":   {good[:len(good)-1], "cut off"},
		"tail":       {append(append([]byte{}, good...), 0), "the tensors end"},
		"huge":       {binary.LittleEndian.AppendUint64(nil, math.MaxUint64), "header of"},
		"not json":   {with("[1]", 0), "header"},
		"dtype":      {with(one("F7", "[1]", "[0,4]"), 4), "F7"},
		"offsets":    {with(one("F32", "[2]", "[0,4]"), 4), "expected 8 bytes"},
		"negative":   {with(one("F32", "[-1]", "[0,4]"), 4), "negative"},
		"overflow":   {with(one("F32", "[4611686018427387904,4]", "[0,4]"), 4), "2⁶³"},
		"gap":        {with(one("F32", "[1]", "[4,8]"), 8), "gap"},
	} {
		_, err := New(bytes.NewReader(c.raw), int64(len(c.raw)))
		require.ErrorContains(t, err, c.want, name)
	}
	_, err := Open(filepath.Join(t.TempDir(), "missing"))
	require.ErrorIs(t, err, os.ErrNotExist)
}

// Whatever New accepts can be read in full and written again with equal contents.
func FuzzNew(f *testing.F) {
	f.Add(write(f, map[string]string{"k": "v"}, sample()))
	f.Add(write(f, nil, nil))
	f.Fuzz(func(t *testing.T, raw []byte) {
		file, err := New(bytes.NewReader(raw), int64(len(raw)))
		if err != nil {
			require.NotEmpty(t, err.Error())
			return
		}
		var items []Item
		for _, e := range file.Entries() {
			x, err := file.Tensor(e.Name)
			require.NoError(t, err)
			items = append(items, FromTensor(e.Name, x))
		}
		again := write(t, file.Metadata, items)
		_, err = New(bytes.NewReader(again), int64(len(again)))
		require.NoError(t, err)
	})
}

func ExampleWrite() {
	var b strings.Builder
	_ = Write(&b, nil, []Item{FromTensor("x", tensor.Of(tensor.Shape{1}, float32(1)))})
	f, _ := New(strings.NewReader(b.String()), int64(b.Len()))
	fmt.Println(f.Entries()[0].Name, f.Entries()[0].Shape)
	// Output: x (1)
}
