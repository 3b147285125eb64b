//go:build cgo

package kernels

import (
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

// blockProducts are cut in every way that the driver of weights in blocks knows: one or several chunks of k and parts of it, whole
// and broken tiles, one or several heights of rows, few and many rows beside each other.
var blockProducts = []struct{ m, n, k int }{
	{32, 32, 32}, {96, 64, 160}, {37, 65, 50}, {256, 64, 416}, {290, 40, 900}, {64, 96, 1600}, {33, 70, 4500},
}

// TestGEMMBlocks compares all ends of products with weights in blocks, in f32 and bf16, with those of the driver that packs the
// weights itself, and demands the same bits of any number of threads.
func TestGEMMBlocks(t *testing.T) {
	defer initCPU(maxISA(), 2)
	if initCPU(maxISA(), 2); !hasAMX() {
		t.Skip("blocks are for AMX")
	}
	ends := []func(p *gemmProduct, more func(seed uint64) *tensor.Tensor){
		func(p *gemmProduct, more func(uint64) *tensor.Tensor) {},
		func(p *gemmProduct, more func(uint64) *tensor.Tensor) { p.Residual = more(5) },
		func(p *gemmProduct, more func(uint64) *tensor.Tensor) { p.Dact, p.DactPre = "slope", more(5) },
		func(p *gemmProduct, more func(uint64) *tensor.Tensor) {
			p.Act, p.Pre, p.Slope = "gelu_tanh", more(5), true
		},
		func(p *gemmProduct, more func(uint64) *tensor.Tensor) { p.Act, p.Pre = "relu", more(5) },
		func(p *gemmProduct, more func(uint64) *tensor.Tensor) { p.Act, p.Beta = "gelu", 0.5 },
	}
	for _, s := range blockProducts {
		for flags := range 8 {
			tb, aType, cType := flags&1 != 0, tensor.F32, tensor.F32
			if flags&2 != 0 {
				aType = tensor.BF16
			}
			if flags&4 != 0 {
				cType = tensor.BF16
			}
			rows, cols := pick(tb, s.n, s.k), pick(tb, s.k, s.n)
			w := gen(t, 2, tensor.F32, signed, rows, cols)
			a, bias := gen(t, 1, aType, signed, s.m, s.k), gen(t, 4, tensor.F32, signed, s.n)
			blocks := newOffHeap(graph.Type{DType: tensor.BF16, Shape: graph.BlockShape(rows, cols)})
			view := func(x *tensor.Tensor) View { return View{graph.Type{DType: x.DType, Shape: x.Shape}, x.Bytes()} }
			runFast(t, &Call{Op: "blocks", In: []View{view(w)}, Out: []View{view(blocks)}})
			for e, end := range ends {
				name := fmt.Sprintf("%+v tb %v a %v c %v end %d", s, tb, aType, cType, e)
				product := func() gemmProduct {
					p := gemmProduct{M: s.m, N: s.n, K: s.k, TB: tb, Precision: tensor.BF16, A: a, B: w,
						C: gen(t, 3, cType, signed, s.m, s.n), Bias: bias}
					end(&p, func(seed uint64) *tensor.Tensor { return gen(t, seed, cType, signed, s.m, s.n) })
					return p
				}
				want := product()
				want.run()
				var first gemmProduct
				for _, threads := range []int{1, 3} {
					initCPU(maxISA(), threads)
					got := product()
					got.B, got.Blocks = blocks, true
					got.run()
					if threads > 1 {
						require.Equal(t, first.C.Bytes(), got.C.Bytes(), "%s: %d threads", name, threads)
						continue
					}
					first = got
					tol := map[tensor.DType]float64{tensor.F32: 1e-4, tensor.BF16: 1.0 / 100}[cType]
					within(t, want.C, got.C, tol, name)
					if want.Pre != nil {
						within(t, want.Pre, got.Pre, tol, name+", what is kept")
					}
				}
				initCPU(maxISA(), 2)
			}
		}
	}
}

// within demands |want−got| ≤ tol·(1+|want|) of all elements.
func within(t *testing.T, want, got *tensor.Tensor, tol float64, name string) {
	t.Helper()
	x, y := want.Float64s(), got.Float64s()
	for i := range x {
		if !(math.Abs(x[i]-y[i]) <= tol*(1+math.Abs(x[i]))) {
			require.Failf(t, name, "element %d is %g, expected %g", i, y[i], x[i])
		}
	}
}
