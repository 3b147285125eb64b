//go:build cgo

package kernels

import (
	"testing"

	"github.com/stretchr/testify/require"

	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

// What kernels write in bf16 is what they write in f32, rounded.
func TestKernelsThatWriteHalf(t *testing.T) {
	const rows, cols = 37, 70
	x, gain, bias := viewOf(t, 1, tensor.F32, signed, rows, cols), viewOf(t, 2, tensor.F32, signed, cols), viewOf(t, 3, tensor.F32, signed, cols)
	norm := graph.Norm{Eps: 1e-5}
	calls := []struct {
		op   string
		a    any
		in   []View
		half int
		out  [][]int
	}{
		{"layernorm", norm, []View{x, gain, bias}, 0, [][]int{{rows, cols}, {rows}, {rows}}},
		{"add_layernorm", norm, []View{x, x, gain, bias}, 1, [][]int{{rows, cols}, {rows, cols}, {rows}, {rows}}},
		{"rmsnorm", norm, []View{x, gain}, 0, [][]int{{rows, cols}, {rows}}},
		{"add_rmsnorm", norm, []View{x, x, gain}, 1, [][]int{{rows, cols}, {rows, cols}, {rows}}},
	}
	for _, c := range calls {
		run := func(dt tensor.DType) (out []View) {
			for i, shape := range c.out {
				if i == c.half {
					out = append(out, offHeap(t, dt, shape...))
				} else {
					out = append(out, offHeap(t, tensor.F32, shape...))
				}
			}
			runFast(t, &Call{Op: c.op, Attrs: c.a, In: c.in, Out: out})
			return out
		}
		want, got := run(tensor.F32), run(tensor.BF16)
		rounded := offHeap(t, tensor.BF16, rows, cols)
		rounded.Store(want[c.half].Load())
		want[c.half] = rounded
		for i := range want {
			require.Equal(t, want[i].Bytes, got[i].Bytes, "%s output %d", c.op, i)
		}
	}
}
