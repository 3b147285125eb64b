//go:build cgo

package kernels

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

// besideProducts are products of whole tiles whose packing and ends run beside AMX: with strips of A, of B, and of A whose tiles are
// turned around; with sums over k in one piece and in two halves.
func besideProducts(t *testing.T) []gemmProduct {
	var out []gemmProduct
	add := func(m, n, k int, ta, tb bool) {
		out = append(out, gemmProduct{M: m, N: n, K: k, TA: ta, TB: tb,
			A: gen(t, 1, tensor.F32, signed, m, k), B: gen(t, 2, tensor.F32, signed, k, n), C: gen(t, 3, tensor.F32, signed, m, n)})
	}
	for _, k := range []int{128, 192, 640} {
		add(160, 96, k, false, false)
		add(160, 128, k, false, true)
		add(96, 160, k, true, false)
		add(192, 96, k, true, false)
	}
	return out
}

func TestGEMMBeside(t *testing.T) {
	initCPU(len(isaNames)-1, 2)
	defer initCPU(len(isaNames)-1, 2)
	for _, p := range besideProducts(t) {
		p.Serial = true
		p.run()
		require.LessOrEqual(t, worst(p), 1.0/(1<<21), "%d×%d×%d ta %v tb %v", p.M, p.K, p.N, p.TA, p.TB)
		want := append([]byte{}, p.C.Bytes()...)
		p.Serial = false
		for threads := 1; threads <= 5; threads++ {
			initCPU(len(isaNames)-1, threads)
			p.run()
			require.Equal(t, want, p.C.Bytes(), "%d×%d×%d ta %v tb %v: %d threads", p.M, p.K, p.N, p.TA, p.TB, threads)
		}
	}
}

// TestGEMMBesideEpilogue: each end there is, in place of a residual too.
func TestGEMMBesideEpilogue(t *testing.T) {
	initCPU(len(isaNames)-1, 2)
	const m, n, k = 128, 96, 128
	for i, act := range []string{"", "relu", "gelu_tanh", "gelu", "silu"} {
		p := gemmProduct{M: m, N: n, K: k, Batch: 1, Act: act, BiasRows: i%2 == 1, Beta: 0.5, A: gen(t, 1, tensor.F32, signed, m, k),
			B: gen(t, 2, tensor.F32, signed, k, n), C: gen(t, 3, tensor.F32, signed, m, n), Bias: gen(t, 4, tensor.F32, signed, pick(i%2 == 1, m, n)),
			Pre: gen(t, 5, tensor.F32, signed, m, n)}
		if i%2 == 0 {
			p.Act, p.Dact, p.DactPre = "", act, gen(t, 6, tensor.F32, signed, m, n)
			p.Residual = p.C
		}
		before := p.C.Float64s()
		p.run()
		checkEpilogue(t, p, before, 3e-5)
	}
}

// TestGEMMBesideNotFinite: an infinity reaches the row or column that it stands in and nothing else.
func TestGEMMBesideNotFinite(t *testing.T) {
	initCPU(len(isaNames)-1, 2)
	for _, p := range besideProducts(t) {
		p.run()
		clean := p.C.Float64s()
		const row, at = 70, 100 // of A, and of k
		tensor.Data[float32](p.A)[pick(p.TA, at*p.M+row, row*p.K+at)] = float32(math.Inf(1))
		p.run()
		for i, v := range p.C.Float64s() {
			if i/p.N == row {
				require.True(t, math.IsInf(v, 0), "%d×%d×%d ta %v tb %v: element %d is %g", p.M, p.K, p.N, p.TA, p.TB, i, v)
			} else {
				require.InDelta(t, clean[i], v, 1e-4) // its tiles are computed again by multiply-add
			}
		}
	}
}

// TestLinearGrad: both gradients, where b moves, where it stands still, and where the product is another; the same bits on any number of threads.
func TestLinearGrad(t *testing.T) {
	defer initCPU(len(isaNames)-1, 2)
	for _, s := range [][3]int{{192, 96, 160}, {640, 96, 160}, {640, 192, 96}, {100, 30, 70}} {
		k, m, n := s[0], s[1], s[2]
		x, dy := gen(t, 1, tensor.F32, signed, k, m), gen(t, 2, tensor.F32, signed, k, n)
		dw, db := gen(t, 3, tensor.F32, signed, m, n), gen(t, 4, tensor.F32, signed, n)
		view := func(x *tensor.Tensor) View { return View{graph.Type{DType: x.DType, Shape: x.Shape}, x.Bytes()} }
		c := &Call{Op: "linear_grad", Precision: tensor.F32, In: []View{view(x), view(dy)}, Out: []View{view(dw), view(db)}}
		refLinearGrad(c)
		wantW, wantB := dw.Float64s(), db.Float64s()
		var first []byte
		for threads := 1; threads <= 3; threads++ {
			initCPU(len(isaNames)-1, threads)
			run, err := Bind(c, false)
			require.NoError(t, err)
			run()
			require.InDeltaSlice(t, wantW, dw.Float64s(), 1e-4, "%v", s)
			require.InDeltaSlice(t, wantB, db.Float64s(), 1e-4, "%v", s)
			got := append(append([]byte{}, dw.Bytes()...), db.Bytes()...)
			if first == nil {
				first = got
			}
			require.Equal(t, first, got, "%v: %d threads", s, threads)
		}
	}
}
