package ring

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"ringo/runtime/tensor"
)

// TestFastSumsHaveThePlainOnesBits covers lengths around vector widths, bits of all kinds, and dst being an input.
func TestFastSumsHaveThePlainOnesBits(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	bits := func(dt tensor.DType, n int) []byte {
		b := tensor.AlignedBytes(n * dt.Size())
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		if dt == tensor.F16 { // how hardware treats f16 NaN payloads is not defined
			for i := 1; i < len(b); i += 2 {
				b[i] &^= 0x40
			}
		}
		return b
	}
	for _, dt := range []tensor.DType{tensor.F32, tensor.F64, tensor.I32, tensor.BF16, tensor.F16} {
		for _, n := range []int{0, 1, 7, 8, 9, 15, 16, 17, 31, 33, 64, 1001} {
			a, b := bits(dt, n), bits(dt, n)
			want, got := tensor.AlignedBytes(len(a)), tensor.AlignedBytes(len(a))
			addPlain(dt, want, a, b)
			add(dt, got, a, b)
			w, g := make([]float64, n), make([]float64, n)
			tensor.LoadFloat64(w, dt, want)
			tensor.LoadFloat64(g, dt, got)
			for i := range w { // NaN equals NaN
				require.True(t, w[i] == g[i] || w[i] != w[i] && g[i] != g[i], "%s[%d] of %d: %v, expected %v", dt, i, n, g[i], w[i])
			}
			add(dt, a, a, b)
			require.Equal(t, got, a)
		}
	}
	for _, n := range []int{0, 1, 15, 17, 1001} {
		v := tensor.View[float32](bits(tensor.F32, n))
		want, got := tensor.AlignedBytes(2*n), tensor.AlignedBytes(2*n)
		toBF16Plain(want, v)
		toBF16(got, v)
		require.Equal(t, want, got)
		a, b := fill(3, n), fill(3, n)
		src := tensor.AlignedBytes(2 * n)
		toBF16(src, fill(4, n))
		addBF16Plain(a, src)
		addBF16(b, src)
		require.Equal(t, a, b)
		fromBF16Plain(a, src)
		fromBF16(b, src)
		require.Equal(t, a, b)
	}
}
