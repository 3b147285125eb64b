package data

import (
	"bytes"
	"errors"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"ringo/runtime/tensor"
)

func TestPermuteIsOneToOne(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 3000).Draw(t, "n")
		seed, epoch := rapid.Uint64().Draw(t, "seed"), rapid.Int64Range(0, 1<<40).Draw(t, "epoch")
		seen := make([]bool, n)
		for i := range n {
			p := permute(seed, epoch, n, i)
			if seen[p] {
				t.Fatalf("%d occurs twice", p)
			}
			seen[p] = true
		}
	})
}

// Where a sample goes must be uniform over epochs: χ² of 9 degrees of freedom, for each of the ten samples.
// 33.7 is the quantile 0.9999; seeds are fixed, so the test cannot flake.
func TestPermuteIsUniform(t *testing.T) {
	t.Parallel()
	const n, epochs = 10, 5000
	var count [n][n]float64
	for e := range int64(epochs) {
		for i := range n {
			count[i][permute(7, e, n, i)]++
		}
	}
	for i := range n {
		chi := 0.0
		for _, c := range count[i] {
			chi += (c - epochs/n) * (c - epochs/n) / (epochs / n)
		}
		require.Less(t, chi, 33.7, "sample %d", i)
	}
}

// Every sample exactly once per epoch, whatever batch and lanes.
func TestEveryEpochHoldsEverySampleOnce(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		lanes := 1 << rapid.IntRange(0, 3).Draw(t, "log lanes")
		o := Order{
			Seed: 3, Len: rapid.IntRange(1, 200).Draw(t, "len"), Lanes: lanes,
			Batch:    lanes * rapid.IntRange(1, 5).Draw(t, "rows"),
			Sampling: rapid.SampledFrom([]string{SampleEpoch, SampleSequential}).Draw(t, "sampling"),
		}
		const epochs = 3
		var count [epochs][]int
		for e := range count {
			count[e] = make([]int, o.Len)
		}
		for step := int64(0); step*int64(o.Batch) < int64(epochs*o.Len); step++ {
			for lane := range lanes {
				for row := range o.Batch / lanes {
					if e, i := o.At(step, lane, row); e < epochs {
						count[e][i]++
					}
				}
			}
		}
		for e := range count {
			for i, c := range count[e] {
				if c != 1 {
					t.Fatalf("epoch %d uses sample %d %d times", e, i, c)
				}
			}
		}
	})
}

func TestRandomOffsetsCoverTheRange(t *testing.T) {
	t.Parallel()
	o := Order{Seed: 1, Len: 1000, Batch: 64, Lanes: 4, Sampling: SampleRandom}
	sum, n := 0.0, 0.0
	for step := range int64(500) {
		for lane := range 4 {
			for row := range 16 {
				_, i := o.At(step, lane, row)
				require.True(t, i >= 0 && i < 1000)
				sum += float64(i)
				n++
			}
		}
	}
	sigma := 1000 / math.Sqrt(12) / math.Sqrt(n)
	require.InDelta(t, 499.5, sum/n, 4*sigma, "mean, four standard errors")
	merged := o
	merged.Lanes = 1
	_, a := o.At(9, 2, 5)
	_, b := merged.At(9, 0, 37)
	require.Equal(t, b, a, "the batch does not depend on how it is cut into lanes")
}

func letterSet(t testing.TB, context int) Dataset {
	train, _, err := Open(Config{Source: "text", Path: write(t, "a.txt", letters(2000)), Context: context})
	require.NoError(t, err)
	return train
}

func imageSetForTest(t testing.TB) Dataset {
	train, _, err := Open(Config{Source: "idx", Path: idxFolder(t, 23, 8, 8), Augment: []string{"crop:2", "flip", "cutout:3"}})
	require.NoError(t, err)
	return train
}

// One worker, four workers, another order, another read-ahead: the same bytes.
func TestBatchesDependOnStepAndLaneOnly(t *testing.T) {
	for name, ds := range map[string]Dataset{"text": letterSet(t, 8), "images": imageSetForTest(t)} {
		t.Run(name, func(t *testing.T) {
			const lanes, steps = 4, 12
			cfg := LoaderConfig{Seed: 5, Batch: 8, Lanes: lanes}
			whole, err := NewLoader(ds, cfg)
			require.NoError(t, err)
			defer whole.Close()
			want := map[[2]int][]byte{}
			for s := range steps {
				for l := range lanes {
					b, err := whole.Next(int64(s), l)
					require.NoError(t, err)
					want[[2]int{s, l}] = bytes.Join(b, nil)
				}
			}
			require.NotEqual(t, want[[2]int{0, 0}], want[[2]int{1, 0}])
			for l := range lanes {
				cfg := cfg
				cfg.LaneLo, cfg.LaneHi, cfg.Prefetch, cfg.Workers, cfg.Start = l, l+1, 1+l, 1+l, int64(l)
				part, err := NewLoader(ds, cfg)
				require.NoError(t, err)
				defer part.Close()
				for _, s := range []int{l, l, l + 1, 11, 3, 4, 5, 2, 8, 9} { // repeats, skips and goes back
					b, err := part.Next(int64(s), l)
					require.NoError(t, err)
					require.Equal(t, want[[2]int{s, l}], bytes.Join(b, nil), "step %d lane %d", s, l)
				}
				_, err = part.Next(0, (l+1)%lanes)
				require.ErrorContains(t, err, "owns lanes")
			}
		})
	}
}

// A batch must not change while the caller holds its step, however fast the readers are.
func TestHeldBatchStaysStill(t *testing.T) {
	ds := letterSet(t, 8)
	l, err := NewLoader(ds, LoaderConfig{Seed: 5, Batch: 4, Lanes: 2, Prefetch: 3, Workers: 3})
	require.NoError(t, err)
	defer l.Close()
	for step := range int64(50) {
		a, err := l.Next(step, 0)
		require.NoError(t, err)
		before := bytes.Join(a, nil)
		_, err = l.Next(step, 1)
		require.NoError(t, err)
		require.Equal(t, before, bytes.Join(a, nil))
	}
}

func TestLoaderAllocatesNothingPerStep(t *testing.T) {
	for name, ds := range map[string]Dataset{"text": letterSet(t, 8), "images": imageSetForTest(t)} {
		l, err := NewLoader(ds, LoaderConfig{Seed: 5, Batch: 8, Lanes: 2})
		require.NoError(t, err)
		step := int64(0)
		next := func() {
			for lane := range 2 {
				if _, err := l.Next(step, lane); err != nil {
					t.Error(err)
				}
			}
			step++
		}
		for range 20 {
			next()
		}
		require.Zero(t, testing.AllocsPerRun(200, next), name)
		require.NoError(t, l.Close())
	}
}

func TestCloseStopsTheReaders(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	l, err := NewLoader(letterSet(t, 8), LoaderConfig{Batch: 2, Workers: 4})
	require.NoError(t, err)
	require.NoError(t, l.Close())
	require.NoError(t, l.Close())
	_, err = l.Next(0, 0)
	require.ErrorIs(t, err, ErrClosed)
}

// failing is a data set whose sample 3 cannot be read.
type failing struct{ Dataset }

var errDisk = errors.New("disk on fire")

func (f failing) Read(i int, rng *tensor.Philox, dst [][]byte) error {
	if i == 3 {
		return errDisk
	}
	return f.Dataset.Read(i, rng, dst)
}

func TestReadErrorsArriveAtTheirStep(t *testing.T) {
	l, err := NewLoader(failing{letterSet(t, 8)}, LoaderConfig{Batch: 2, Sampling: SampleSequential})
	require.NoError(t, err)
	defer l.Close()
	_, err = l.Next(0, 0)
	require.NoError(t, err)
	_, err = l.Next(1, 0)
	require.ErrorIs(t, err, errDisk)
	require.ErrorContains(t, err, "step 1, lane 0, row 1")
	_, err = l.Next(2, 0)
	require.NoError(t, err)
}

func TestLoaderRefusesBadConfigurations(t *testing.T) {
	ds := letterSet(t, 8)
	for want, cfg := range map[string]LoaderConfig{
		"batch 10 does not divide into 4":    {Batch: 10, Lanes: 4},
		"batch 0 does not":                   {},
		"lanes 2…5 of 4":                     {Batch: 4, Lanes: 4, LaneLo: 2, LaneHi: 5},
		`sampling "best": unknown, expected`: {Batch: 4, Sampling: "best"},
	} {
		_, err := NewLoader(ds, cfg)
		require.ErrorContains(t, err, want)
	}
}

func TestLastBatchIsPadded(t *testing.T) {
	ds := imageSetForTest(t) // 20 of 23 images
	b, err := NewBatches(ds, 8)
	require.NoError(t, err)
	require.Equal(t, 3, b.Len())
	total := 0
	for i := range b.Len() {
		fields, valid, err := b.Read(i)
		require.NoError(t, err)
		labels := tensor.View[int32](fields[1])
		require.Len(t, labels, 8)
		for r, y := range labels {
			require.Equal(t, r >= valid, y == IgnoreLabel)
		}
		total += valid
	}
	require.Equal(t, ds.Len(), total)
	_, _, err = b.Read(3)
	require.ErrorContains(t, err, "outside")
}

func BenchmarkLoaderText(b *testing.B) {
	l, err := NewLoader(letterSet(b, 64), LoaderConfig{Batch: 12})
	require.NoError(b, err)
	defer l.Close()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if _, err := l.Next(int64(i), 0); err != nil {
			b.Fatal(err)
		}
	}
}
