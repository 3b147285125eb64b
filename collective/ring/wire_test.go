package ring

import (
	"bytes"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"ringo/runtime/tensor"
)

// reduceCoded sums n vectors with a wire coding and returns what every rank got, which must be the same bits.
func reduceCoded(t *testing.T, rings []*Ring, bufs [][]byte, vectors [][]float32) []float32 {
	for i, v := range vectors {
		copy(bufs[i], bytesOf(v))
	}
	each(t, rings, func(r *Ring) error { return r.AllReduce(bufs[r.Rank()], tensor.F32) })
	for i := range bufs {
		require.True(t, bytes.Equal(bufs[0], bufs[i]), "ranks 0 and %d end with different bits", i)
	}
	return append([]float32{}, tensor.View[float32](bufs[0])...)
}

func TestWireCodings(t *testing.T) {
	t.Parallel()
	for _, elems := range []int{1, 255, 257, 10_000} {
		for _, n := range []int{2, 3} {
			vectors := make([][]float32, n)
			want := make([]float64, elems)
			for i := range vectors {
				vectors[i] = fill(uint64(i), elems)
				for j, v := range vectors[i] {
					want[j] += float64(v)
				}
			}
			fresh := func(w Wire) ([]*Ring, [][]byte) {
				bufs := make([][]byte, n)
				for i := range bufs {
					bufs[i] = tensor.AlignedBytes(4 * elems)
				}
				return world(t, n, func(o *Options) { o.Wire = w; o.Chunk = 4096 }), bufs
			}
			rings, bufs := fresh(WireBF16)
			// Each of n−1 contributions and the sum are rounded once, to 8 bits: by at most 2⁻⁸ of what they are.
			for j, got := range reduceCoded(t, rings, bufs, vectors) {
				bound := 0.0
				for _, v := range vectors {
					bound += math.Abs(float64(v[j]))
				}
				require.InDelta(t, want[j], got, bound*math.Exp2(-7))
			}

			// With error feedback what one call loses the next ones add: the mean over k calls tends to the sum, within
			// a few quanta (the largest in a block, about 4n, over 127) over k.
			rings, bufs = fresh(WireInt8)
			mean := make([]float64, elems)
			const calls = 40
			var first []float32
			for k := range calls {
				got := reduceCoded(t, rings, bufs, vectors)
				if k == 0 {
					first = got
				}
				for j, v := range got {
					mean[j] += float64(v) / calls
				}
			}
			quantum := 5 * float64(n) / 127
			for j := range mean {
				require.InDelta(t, want[j], first[j], float64(n)*quantum)
				require.InDelta(t, want[j], mean[j], float64(n)*quantum/calls+1e-5)
			}
			// A new ring starts without feedback, so it repeats the first call's bits.
			rings, bufs = fresh(WireInt8)
			require.Equal(t, first, reduceCoded(t, rings, bufs, vectors))
		}
	}
}

func TestInt8ShowsWhatOverflowed(t *testing.T) {
	t.Parallel()
	for _, bad := range []float32{float32(math.Inf(1)), float32(math.NaN())} {
		rings := world(t, 2, func(o *Options) { o.Wire = WireInt8 })
		bufs := [][]byte{tensor.AlignedBytes(4000), tensor.AlignedBytes(4000)}
		got := reduceCoded(t, rings, bufs, [][]float32{make([]float32, 1000), append(make([]float32, 999), bad)})
		require.Zero(t, got[0])
		require.True(t, math.IsNaN(float64(got[999])) || math.IsInf(float64(got[999]), 0), "%v became %v", bad, got[999])
		got = reduceCoded(t, rings, bufs, [][]float32{make([]float32, 1000), make([]float32, 1000)})
		require.Zero(t, got[999], "an overflow must not stay")
	}
}
