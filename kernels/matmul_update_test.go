//go:build cgo

package kernels

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

// viewOf makes a view with numbers of gen.
func viewOf(t testing.TB, seed uint64, dt tensor.DType, f func(u, v float64) float64, shape ...int) View {
	x := gen(t, seed, dt, f, shape...)
	return View{graph.Type{DType: dt, Shape: x.Shape}, x.Bytes()}
}

func runFast(t *testing.T, c *Call) {
	t.Helper()
	run := fasts[c.Op](c)
	require.NotNil(t, run, "%s has no fast version here", c.Op)
	run()
}

// A parameter that moves in its gradient's product gets the bits that it gets from the product, the embedding's gradient, their sum
// and AdamW one after the other.
func TestProductThatMovesItsParameter(t *testing.T) {
	positive := func(u, _ float64) float64 { return u }
	eachPath(t, func(t *testing.T) {
		for i, s := range [][3]int{{3, 5, 7}, {10, 150, 130}, {33, 70, 40}, {160, 96, 300}, {129, 2100, 64}, {37, 4200, 33}, {40, 48, 600}} {
			for _, precision := range []tensor.DType{tensor.F32, tensor.BF16} {
				m, n, k, rows := s[0], s[1], s[2], i%2 == 1
				x, dy := viewOf(t, 1, tensor.F32, signed, k, m), viewOf(t, 2, tensor.F32, signed, k, n)
				hyper := viewOf(t, 3, tensor.F32, func(u, _ float64) float64 { return 0.1 + u/2 }, graph.HyperLen)
				drows, ids := viewOf(t, 4, tensor.F32, signed, 40, n), offHeap(t, tensor.I32, 40)
				for r := range 40 {
					tensor.View[int32](ids.Bytes)[r] = int32(r * 7 % m)
				}
				state := func() []View {
					return []View{viewOf(t, 5, tensor.F32, signed, m, n), viewOf(t, 6, tensor.F32, signed, m, n), viewOf(t, 7, tensor.F32, positive, m, n)}
				}
				adamW := graph.AdamW{Beta1: 0.9, Beta2: 0.99, Eps: 1e-8, WeightDecay: 0.1}

				grad, want := offHeap(t, tensor.F32, m, n), state()
				product := &Call{Op: "matmul", Attrs: graph.MatMul{TransA: true, Residual: rows}, In: []View{x, dy}, Out: []View{grad}, Precision: precision}
				if rows {
					sum := offHeap(t, tensor.F32, m, n)
					runFast(t, &Call{Op: "embedding_grad", Attrs: graph.EmbeddingGrad{V: m}, In: []View{drows, ids}, Out: []View{sum}})
					product.In = append(product.In, sum)
				}
				runFast(t, product)
				runFast(t, &Call{Op: "adamw", Attrs: adamW, In: []View{want[0], grad, want[1], want[2], hyper}, Out: want})

				got := state()
				fused := &Call{Op: "matmul_adamw", Attrs: graph.MatMulAdamW{TransA: true, AdamW: adamW, Rows: rows}, Precision: precision,
					In: append(append([]View{}, got...), hyper, x, dy), Out: got}
				if rows {
					fused.In = append(fused.In, drows, ids)
				}
				runFast(t, fused)
				for j, name := range []string{"parameter", "m", "v"} {
					require.Equal(t, want[j].Bytes, got[j].Bytes, "%s of %v, %v", name, s, precision)
				}
			}
		}
	})
}

// Products of weights in blocks have the bits of those that pack the weights themselves, with 1 and 3 threads; blocks that the
// update wrote are those of the parameter that it wrote.
func TestProductsOfBlocks(t *testing.T) {
	initCPU(maxISA(), 2)
	defer initCPU(maxISA(), 2)
	if !hasAMX() {
		t.Skip("blocks are for AMX")
	}
	for _, s := range [][3]int{{32, 32, 32}, {37, 65, 50}, {70, 96, 3500}, {256, 3100, 48}, {300, 200, 70}, {33, 100, 4000}, {600, 100, 900}, {512, 800, 800}} {
		for _, transposed := range []bool{false, true} {
			t.Run(fmt.Sprint(s, transposed), func(t *testing.T) {
				m, n, k := s[0], s[1], s[2]
				rows, cols := k, n
				if transposed {
					rows, cols = n, k
				}
				x, w := viewOf(t, 1, tensor.F32, signed, m, k), viewOf(t, 2, tensor.F32, signed, rows, cols)
				blocks, want := offHeap(t, tensor.BF16, graph.BlockShape(rows, cols)...), offHeap(t, tensor.F32, m, n)
				runFast(t, &Call{Op: "blocks", In: []View{w}, Out: []View{blocks}})
				a := graph.MatMul{TransB: transposed}
				runFast(t, &Call{Op: "matmul", Attrs: a, In: []View{x, w}, Out: []View{want}, Precision: tensor.BF16})
				a.Blocks = [2]int{rows, cols}
				for _, threads := range []int{1, 3} {
					initCPU(maxISA(), threads)
					got := offHeap(t, tensor.F32, m, n)
					runFast(t, &Call{Op: "matmul", Attrs: a, In: []View{x, blocks}, Out: []View{got}, Precision: tensor.BF16})
					require.Equal(t, want.Bytes, got.Bytes, "%d threads", threads)
				}
			})
		}
	}
}

func TestUpdateWritesBlocks(t *testing.T) {
	if !hasAMX() {
		t.Skip("blocks are for AMX")
	}
	for _, s := range [][3]int{{33, 70, 40}, {160, 96, 5}, {50, 2100, 300}} {
		m, n, k := s[0], s[1], s[2]
		p, mom, sq := viewOf(t, 5, tensor.F32, signed, m, n), viewOf(t, 6, tensor.F32, signed, m, n), viewOf(t, 7, tensor.F32, signed, m, n)
		got, want := offHeap(t, tensor.BF16, graph.BlockShape(m, n)...), offHeap(t, tensor.BF16, graph.BlockShape(m, n)...)
		runFast(t, &Call{Op: "blocks", In: []View{p}, Out: []View{got}})
		hyper := viewOf(t, 3, tensor.F32, func(u, _ float64) float64 { return 0.1 + u/2 }, graph.HyperLen)
		runFast(t, &Call{Op: "matmul_adamw", Attrs: graph.MatMulAdamW{TransA: true, AdamW: graph.AdamW{Beta1: 0.9, Beta2: 0.99}, Blocks: true}, Precision: tensor.BF16,
			In: []View{p, mom, sq, hyper, viewOf(t, 1, tensor.F32, signed, k, m), viewOf(t, 2, tensor.F32, signed, k, n)}, Out: []View{p, mom, sq, got}})
		runFast(t, &Call{Op: "blocks", In: []View{p}, Out: []View{want}})
		require.Equal(t, want.Bytes, got.Bytes)
	}
}

// A moved parameter, its moments and its blocks have the same bits with 1, 2 and 3 threads.
func TestMovesTheSameWithAnyThreads(t *testing.T) {
	defer initCPU(maxISA(), 2)
	if !hasAMX() {
		t.Skip("the pipeline is for AMX")
	}
	positive := func(u, _ float64) float64 { return u }
	m, n, k := 165, 310, 77
	x, dy := viewOf(t, 1, tensor.F32, signed, k, m), viewOf(t, 2, tensor.F32, signed, k, n)
	hyper := viewOf(t, 3, tensor.F32, func(u, _ float64) float64 { return 0.1 + u/2 }, graph.HyperLen)
	a := graph.MatMulAdamW{TransA: true, AdamW: graph.AdamW{Beta1: 0.9, Beta2: 0.99, Eps: 1e-8}, Blocks: true}
	var want []View
	for _, threads := range []int{1, 2, 3} {
		initCPU(maxISA(), threads)
		got := []View{viewOf(t, 5, tensor.F32, signed, m, n), viewOf(t, 6, tensor.F32, signed, m, n), viewOf(t, 7, tensor.F32, positive, m, n),
			offHeap(t, tensor.BF16, graph.BlockShape(m, n)...)}
		runFast(t, &Call{Op: "blocks", In: got[:1], Out: got[3:]})
		runFast(t, &Call{Op: "matmul_adamw", Attrs: a, Precision: tensor.BF16, In: append(append([]View{}, got[:3]...), hyper, x, dy), Out: got})
		packed := offHeap(t, tensor.BF16, graph.BlockShape(m, n)...)
		runFast(t, &Call{Op: "blocks", In: got[:1], Out: []View{packed}})
		require.Equal(t, packed.Bytes, got[3].Bytes, "blocks, %d threads", threads)
		if want == nil {
			want = got
		}
		for i := range got {
			require.Equal(t, want[i].Bytes, got[i].Bytes, "output %d, %d threads", i, threads)
		}
	}
}
