package data

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"ringo/runtime/tensor"
)

// idxBytes builds an IDX file of the given shape, element i being 7i mod 251.
func idxBytes(shape ...int) []byte {
	out := binary.BigEndian.AppendUint32(nil, uint32(0x800+len(shape)))
	n := 1
	for _, d := range shape {
		out = binary.BigEndian.AppendUint32(out, uint32(d))
		n *= d
	}
	for i := range n {
		out = append(out, byte(7*i%251))
	}
	return out
}

// idxFolder holds a training pair only.
func idxFolder(t testing.TB, n, height, width int) string {
	t.Helper()
	dir := t.TempDir()
	labels := idxBytes(n)
	for i := range n {
		labels[8+i] = byte(i % 10)
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, idxNames[0]), idxBytes(n, height, width), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(dir, idxNames[1]), labels, 0o644))
	return dir
}

func zipped(t testing.TB, raw []byte) []byte {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	_, err := z.Write(raw)
	require.NoError(t, err)
	require.NoError(t, z.Close())
	return out.Bytes()
}

func TestDamagedIDXIsOneSentence(t *testing.T) {
	good := idxBytes(4, 3, 3)
	label := idxBytes(4)
	for name, c := range map[string]struct {
		images, labels []byte
		want           string
	}{
		"empty":           {nil, label, "truncated: 0 bytes, the header alone takes 16"},
		"short header":    {good[:10], label, "truncated: 10 bytes, the header alone takes 16"},
		"truncated":       {good[:len(good)-1], label, "truncated: 35 bytes after the header, shape [4 3 3] needs 36"},
		"too long":        {append(bytes.Clone(good), 0), label, "37 bytes after the header"},
		"labels' magic":   {label, label, "wrong magic number 0x00000801, expected 0x00000803"},
		"not IDX":         {[]byte("<html>not found"), label, "wrong magic number 0x3c68746d"},
		"count mismatch":  {good, idxBytes(5), "4 images but"},
		"empty dimension": {idxBytes(0, 3, 3), label, "expected no empty dimension"},
		"huge": {append(binary.BigEndian.AppendUint32(nil, 0x803), bytes.Repeat([]byte{0xff}, 12)...), label,
			"the header announces [4294967295"},
	} {
		for _, suffix := range []string{"", ".gz"} {
			dir := t.TempDir()
			images, labels := c.images, c.labels
			if suffix != "" {
				images, labels = zipped(t, images), zipped(t, labels)
			}
			require.NoError(t, os.WriteFile(filepath.Join(dir, idxNames[0]+suffix), images, 0o644))
			require.NoError(t, os.WriteFile(filepath.Join(dir, idxNames[1]+suffix), labels, 0o644))
			_, _, err := Open(Config{Source: "idx", Path: dir})
			require.ErrorContains(t, err, c.want, name)
			require.ErrorContains(t, err, idxNames[0], name)
			require.NotContains(t, err.Error(), "\n")
		}
	}
}

func TestIDXPathErrors(t *testing.T) {
	_, _, err := Open(Config{Source: "idx", Path: t.TempDir()})
	require.ErrorContains(t, err, "has neither train-images-idx3-ubyte nor train-images-idx3-ubyte.gz")
	_, _, err = Open(Config{Source: "idx", Path: write(t, "pictures", idxBytes(1, 2, 2))})
	require.ErrorContains(t, err, "expected images-idx3 in the file's name")
	truncated := zipped(t, idxBytes(4, 3, 3))
	_, _, err = Open(Config{Source: "idx", Path: write(t, "images-idx3-ubyte.gz", truncated[:20])})
	require.ErrorContains(t, err, "not a whole gzip file")
	_, _, err = Open(Config{Source: "idx", Path: idxFolder(t, 1, 2, 2)})
	require.ErrorContains(t, err, "expected at least one of each")
	_, _, err = Open(Config{Source: "idx", Path: idxFolder(t, 4, 2, 2), Mean: []float64{0, 0}, Std: []float64{1, 1}})
	require.ErrorContains(t, err, "the images have 1 channels")
}

func TestPixelsAreNormalised(t *testing.T) {
	train, _, err := Open(Config{Source: "idx", Path: idxFolder(t, 10, 4, 4)})
	require.NoError(t, err)
	require.Equal(t, 9, train.Len())
	sum, squares := 0.0, 0.0
	for i := range train.Len() {
		b := readSample(t, train, i)
		require.Equal(t, int32(i%10), tensor.View[int32](b[1])[0])
		for _, v := range tensor.View[float32](b[0]) {
			sum += float64(v)
			squares += float64(v) * float64(v)
		}
	}
	require.InDelta(t, 0, sum/(9*16), 1e-6)
	require.InDelta(t, 1, squares/(9*16), 1e-6)
}

func TestMNIST(t *testing.T) {
	train, valid, err := Open(Config{Source: "idx", Path: filepath.Dir(shared(t, "mnist/train-images-idx3-ubyte.gz"))})
	require.NoError(t, err)
	require.Equal(t, 60000, train.Len())
	require.Equal(t, 10000, valid.Len())
	info := train.Info()
	require.Equal(t, 10, info.Classes)
	require.InDelta(t, 0.1307, info.Image.Mean[0], 5e-5, "the published mean")
	require.InDelta(t, 0.3081, info.Image.Std[0], 5e-5, "the published deviation")
	require.Equal(t, int32(5), tensor.View[int32](readSample(t, train, 0)[1])[0])
	require.Equal(t, int32(7), tensor.View[int32](readSample(t, valid, 0)[1])[0])
	text, err := Inspect(Config{Source: "idx", Path: filepath.Dir(shared(t, "mnist/train-images-idx3-ubyte.gz"))})
	require.NoError(t, err)
	require.Contains(t, text, "class        0: 5923 training, 980 validation")
}

func TestCIFAR(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cifar-10-batches-bin")
	require.NoError(t, os.Mkdir(dir, 0o755))
	for i, name := range []string{"data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch"} {
		raw := make([]byte, 2*cifarRecord)
		raw[0], raw[cifarRecord] = byte(i), 9
		raw[1], raw[1+1024], raw[1+2048] = 255, 128, 64
		require.NoError(t, os.WriteFile(filepath.Join(dir, name+".bin"), raw, 0o644))
	}
	train, valid, err := Open(Config{Source: "cifar10", Path: filepath.Dir(dir), Mean: []float64{0, 0, 0}, Std: []float64{1, 1, 1}})
	require.NoError(t, err)
	require.Equal(t, []int{10, 2}, []int{train.Len(), valid.Len()})
	b := readSample(t, train, 2)
	x := tensor.View[float32](b[0])
	require.Equal(t, []float32{1, 128. / 255, 64. / 255}, []float32{x[0], x[1024], x[2048]})
	require.Equal(t, int32(1), tensor.View[int32](b[1])[0])
	require.Equal(t, "truck", train.Info().Labels[9])

	bad := filepath.Join(dir, "data_batch_3.bin")
	require.NoError(t, os.WriteFile(bad, make([]byte, cifarRecord-1), 0o644))
	_, _, err = Open(Config{Source: "cifar10", Path: dir})
	require.ErrorContains(t, err, "data_batch_3.bin: 3072 bytes, expected a positive multiple of the record's 3073")
	raw := make([]byte, cifarRecord)
	raw[0] = 10
	require.NoError(t, os.WriteFile(bad, raw, 0o644))
	_, _, err = Open(Config{Source: "cifar10", Path: dir})
	require.ErrorContains(t, err, "record 0 has label 10")
}

// A crop is a shift: all 25 shifts of a padding of 2 occur, and flips about half of the time.
func TestCropShiftsAndFlips(t *testing.T) {
	t.Parallel()
	const n = 5
	table := make([][256]float32, 1)
	for p := range 256 {
		table[0][p] = float32(p)
	}
	src := make([]byte, n*n)
	src[2*n+2], src[2*n+3] = 1, 2 // two marked pixels; the second is right of the first unless flipped
	shifts, flips := map[[2]int]bool{}, 0
	for i := range 2000 {
		rng := augmentRNG(1, 0, i)
		dst := make([]float32, n*n)
		augment{crop: 2, flip: true}.apply(dst, src, table, n, n, &rng)
		for at, v := range dst {
			if v == 1 {
				shifts[[2]int{at / n, at % n}] = true
				if at%n > 0 && dst[at-1] == 2 {
					flips++
				}
			}
		}
	}
	require.Len(t, shifts, 25)
	require.InDelta(t, 1000, flips, 250, "one shift in five hides the neighbour")
}

func TestCutoutBlanksASquare(t *testing.T) {
	t.Parallel()
	table := make([][256]float32, 2)
	for c := range table {
		for p := range 256 {
			table[c][p] = 1
		}
	}
	largest := 0
	for i := range 500 {
		rng := augmentRNG(1, 0, i)
		dst := make([]float32, 2*8*8)
		augment{cutout: 4}.apply(dst, make([]byte, 2*8*8), table, 8, 8, &rng)
		blank := [2]int{}
		for at, v := range dst {
			if v == 0 {
				blank[at/64]++
			}
		}
		require.Equal(t, blank[0], blank[1], "the same square in every channel")
		require.True(t, blank[0] >= 4 && blank[0] <= 16, "at least a corner of 2×2")
		largest = max(largest, blank[0])
	}
	require.Equal(t, 16, largest)
}
