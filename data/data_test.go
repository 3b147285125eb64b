package data

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"ringo/runtime/tensor"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// shared returns the path of a real data set's file, which Find looks up, or skips.
func shared(t testing.TB, path string) string {
	t.Helper()
	for _, dir := range []string{os.Getenv("RINGO_DATA"), filepath.Join("..", "..", "shared", "data")} {
		if p := filepath.Join(dir, path); dir != "" {
			if _, err := os.Stat(p); err == nil {
				return p
			}
		}
	}
	t.Skipf("needs %s in ../shared/data or RINGO_DATA", path)
	return ""
}

// write puts a file into a fresh folder and returns its path.
func write(t testing.TB, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(path, content, 0o644))
	return path
}

// letters is a text of n characters.
func letters(n int) []byte {
	return []byte(strings.Repeat("the quick brown fox jumps over the lazy dog. ", n/45+1)[:n])
}

func readSample(t testing.TB, ds Dataset, i int) [][]byte {
	t.Helper()
	buf := newBuffers(ds.Fields())
	require.NoError(t, ds.Read(i, nil, buf))
	return buf
}

// Every source announces the same fields on both sides, fills them exactly, and allocates nothing.
func TestEverySourceKeepsTheContract(t *testing.T) {
	text := write(t, "a.txt", letters(5000))
	table := write(t, "a.csv", []byte("x,c,y\n1,a,yes\n2,b,no\n?,a,yes\n4,?,no\n"))
	images := idxFolder(t, 20, 6, 5)
	for _, cfg := range []Config{
		{Source: "text", Path: text, Context: 16},
		{Source: "text", Path: text, Context: 16, Tokenizer: "byte"},
		{Source: "go-stdlib", Context: 32},
		{Source: "tokens", Path: text, Context: 16, Vocab: 1 << 16},
		{Source: "idx", Path: images},
		{Source: "idx", Path: images, Augment: []string{"crop:2", "flip", "cutout:3"}},
		{Source: "csv", Path: table},
		{Source: "csv", Path: table, Categories: "embed"},
		{Source: "csv", Path: table, Target: "x:numeric", Columns: []string{"x", "c", "y"}, Split: 0.5},
		{Source: "synthetic", Vocab: 50, Context: 8},
		{Source: "synthetic", Shape: []int{3, 4, 4}},
	} {
		t.Run(cfg.Source, func(t *testing.T) {
			if cfg.Target == "x:numeric" {
				cfg.Path = write(t, "b.csv", []byte("x,c,y\n1,a,yes\n2,b,no\n3,a,yes\n4,?,no\n"))
			}
			train, valid, err := Open(cfg)
			require.NoError(t, err)
			defer Close(train)
			defer Close(valid)
			require.Equal(t, train.Fields(), valid.Fields())
			require.NotEmpty(t, train.Info().Describe)
			require.NotEmpty(t, train.Info().Hash)
			require.NotEmpty(t, train.Info().Sampling)
			rng := tensor.NewPhilox(1, 2)
			for _, ds := range []Dataset{train, valid} {
				require.Positive(t, ds.Len())
				buf := newBuffers(ds.Fields())
				last := ds.Len() - 1
				require.Zero(t, testing.AllocsPerRun(5, func() {
					if err := ds.Read(last, &rng, buf); err != nil {
						t.Error(err)
					}
				}))
				require.ErrorContains(t, ds.Read(ds.Len(), nil, buf), "outside")
				require.ErrorContains(t, ds.Read(-1, nil, buf), "outside")
				require.ErrorContains(t, ds.Read(0, nil, buf[:1]), "buffers")
				short := newBuffers(ds.Fields())
				short[0] = short[0][1:]
				require.ErrorContains(t, ds.Read(0, nil, short), "needs")
			}
		})
	}
}

func TestConfigErrorsAreOneSentence(t *testing.T) {
	t.Parallel()
	for want, cfg := range map[string]Config{
		`data.source "movie": unknown, expected one of text, go-stdlib`: {Source: "movie"},
		`data.path: missing`:                        {Source: "idx"},
		`data.split 1.5: must lie between 0 and 1`:  {Source: "text", Path: "x", Context: 4, Split: 1.5},
		`data.context 0: must be at least 1`:        {Source: "text", Path: "x"},
		`data.tokenizer "word": unknown`:            {Source: "text", Path: "x", Context: 4, Tokenizer: "word"},
		`data.sampling "all": unknown`:              {Source: "text", Path: "x", Context: 4, Sampling: "all"},
		`data.limit -1: must not be negative`:       {Source: "idx", Path: "x", Limit: -1},
		`data.augment "turn"`:                       {Source: "idx", Path: "x", Augment: []string{"turn"}},
		`data.augment "crop:-1"`:                    {Source: "idx", Path: "x", Augment: []string{"crop:-1"}},
		`data.std[0] 0: must be positive`:           {Source: "idx", Path: "x", Mean: []float64{0}, Std: []float64{0}},
		`data.shape [3 4]: expected three positive`: {Source: "synthetic", Shape: []int{3, 4}},
		`data.vocab: missing`:                       {Source: "synthetic", Context: 3},
		`data.categories "both": unknown`:           {Source: "csv", Path: "x", Categories: "both"},
		`data.dtype "int8": unknown`:                {Source: "tokens", Path: "x", Context: 3, DType: "int8"},
	} {
		_, _, err := Open(cfg)
		require.ErrorContains(t, err, want)
		require.NotContains(t, err.Error(), "\n")
	}
}

func TestMissingFileListsPlacesAndCommand(t *testing.T) {
	t.Setenv("RINGO_DATA", "/nowhere")
	t.Setenv("XDG_CACHE_HOME", "/cache")
	_, _, err := Open(Config{Source: "idx", Path: "mnist/absent"})
	require.ErrorIs(t, err, os.ErrNotExist)
	for _, want := range []string{"looked in mnist/absent, /nowhere/mnist/absent, ../shared/data/mnist/absent, /cache/ringo/data/mnist/absent", "`ringo data fetch mnist`"} {
		require.ErrorContains(t, err, want)
	}
	_, err = Find("my/own.txt")
	require.ErrorContains(t, err, "mnist, fashion-mnist, cifar-10, tinyshakespeare")
}

func TestFindPrefersTheGivenPath(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("RINGO_DATA", dir)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "only-there.txt"), nil, 0o644))
	found, err := Find("only-there.txt")
	require.NoError(t, err)
	require.Equal(t, filepath.Join(dir, "only-there.txt"), found)
	found, err = Find("data.go")
	require.NoError(t, err)
	require.Equal(t, "data.go", found)
}

func TestCatalogIsWhole(t *testing.T) {
	t.Parallel()
	for _, e := range Catalog {
		for _, f := range e.Files {
			require.Len(t, f.SHA256, 64, f.Path)
			require.Positive(t, f.Size)
			require.NotEmpty(t, f.URLs)
			require.True(t, filepath.IsLocal(f.Path))
		}
	}
	require.Nil(t, catalogFor("elsewhere/mnist"))
	require.Equal(t, "mnist", catalogFor("./mnist").Name)
}

func Example() {
	train, _, err := Open(Config{Source: "synthetic", Vocab: 65, Context: 8, Samples: 100})
	if err != nil {
		panic(err)
	}
	loader, err := NewLoader(train, LoaderConfig{Seed: 1, Batch: 12, Lanes: 4})
	if err != nil {
		panic(err)
	}
	defer loader.Close()
	batch, err := loader.Next(0, 3) // step 0, lane 3: three windows
	if err != nil {
		panic(err)
	}
	for k, f := range loader.Fields() {
		fmt.Println(f.Name, f.DType, f.Shape, len(batch[k]), "bytes")
	}
	// Output:
	// tokens i32 (3,8) 96 bytes
	// targets i32 (3,8) 96 bytes
}
