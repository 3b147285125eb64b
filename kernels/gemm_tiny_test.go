//go:build cgo

package kernels

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

// Factors near the smallest normal number, as gelu's tail makes them, split into subnormal parts: these may be lost but
// must not reach their neighbours.
func TestGEMMTinyFactors(t *testing.T) {
	const m, n, k = 64, 64, 128
	defer useF32("")
	a, b, c := tensor.New(tensor.F32, m, k), tensor.New(tensor.F32, k, n), tensor.New(tensor.F32, m, n)
	for i := range tensor.Data[float32](a) {
		tensor.Data[float32](a)[i] = float32(1.3e-37) * float32(1+math.Abs(math.Sin(float64(i))))
	}
	for i := range tensor.Data[float32](b) {
		tensor.Data[float32](b)[i] = float32(1 + math.Sin(float64(3*i)))
	}
	Init(0)
	for _, path := range []string{"fma", "amx"} {
		useF32(path)
		for _, flip := range []bool{false, true} {
			x, y := outside(t, a), outside(t, b)
			p := gemmProduct{M: m, N: n, K: k, A: x, B: y, C: outside(t, c)}
			if flip {
				p = gemmProduct{M: n, N: m, K: k, A: y, TA: true, B: x, TB: true, C: outside(t, c)}
			}
			p.run()
			for _, v := range p.C.Float64s() {
				require.Less(t, math.Abs(v), 1e-34, path)
			}
		}
	}
}

func outside(t *testing.T, x *tensor.Tensor) *tensor.Tensor {
	t.Helper()
	out := newOffHeap(graph.Type{DType: x.DType, Shape: x.Shape})
	copy(out.Bytes(), x.Bytes())
	return out
}
