package tensor

import (
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

// The known-answer vectors of Random123's kat_vectors file, philox4x32 with 10 rounds.
func TestPhiloxKnownAnswers(t *testing.T) {
	zero := Philox{}
	require.Equal(t, [4]uint32{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}, zero.Block())
	const f = 0xffffffff
	ones := Philox{Key: [2]uint32{f, f}, Counter: [4]uint32{f, f, f, f}}
	require.Equal(t, [4]uint32{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}, ones.Block())
}

func TestHalfPrecisionRoundTrip(t *testing.T) {
	for h := range 1 << 16 {
		f := F32FromF16(uint16(h))
		if f != f {
			continue
		}
		require.Equal(t, uint16(h), F16FromF32(f), "f16 bits %04x", h)
		b := F32FromBF16(uint16(h))
		if b == b {
			require.Equal(t, uint16(h), BF16FromF32(b), "bf16 bits %04x", h)
		}
	}
	require.Equal(t, uint16(0x3f80), BF16FromF32(1+1.0/256), "a tie rounds to even")
	require.Equal(t, uint16(0x7c00), F16FromF32(65520), "65520 rounds to infinity")
	require.True(t, math.IsNaN(float64(F32FromBF16(BF16FromF32(float32(math.NaN()))))))
}

func TestNormalMoments(t *testing.T) {
	p := NewPhilox(1, 2)
	x := make([]float32, 100_000)
	p.FillNormal(x, 0, 1)
	var sum, sq float64
	for _, v := range x {
		sum += float64(v)
		sq += float64(v) * float64(v)
	}
	n := float64(len(x))
	require.InDelta(t, 0, sum/n, 4/math.Sqrt(n), "mean, four standard errors")
	require.InDelta(t, 1, sq/n, 4*math.Sqrt(2/n), "variance, four standard errors")
}

func TestBroadcastNamesTheClash(t *testing.T) {
	s, err := Broadcast(Shape{4, 1, 3}, Shape{5, 3})
	require.NoError(t, err)
	require.Equal(t, Shape{4, 5, 3}, s)
	_, err = Broadcast(Shape{2, 3}, Shape{4})
	require.ErrorContains(t, err, "3 ≠ 4")
}

func ExampleOf() {
	x := Of(Shape{2, 2}, float32(1), 2, 3, 4)
	fmt.Println(x, Data[float32](x)[3])
	// Output: f32(2,2) 4
}
