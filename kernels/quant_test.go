//go:build cgo

package kernels

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

var quantOps = []string{"quantize_linear", "dequantize_linear", "qmatmul", "qconv2d", "qmaxpool2d", "qembedding"}

// quantCase is one call beyond the op table's samples: shapes that fill AMX tiles, with tails on every side.
func quantCases() map[string]graph.Sample {
	out := map[string]graph.Sample{}
	in := func(shape tensor.Shape, d tensor.DType, lo, hi float64) graph.SampleIn {
		return graph.SampleIn{Shape: shape, DType: d, Lo: lo, Hi: hi}
	}
	operands := func(x, w tensor.Shape, d tensor.DType, cols int) []graph.SampleIn {
		lo, hi := -128.0, 128.0
		if d == tensor.U8 {
			lo, hi = 0, 256
		}
		return []graph.SampleIn{in(x, d, lo, hi), in(nil, tensor.F32, 0.01, 0.02), in(nil, d, 0, 100), in(w, tensor.I8, -128, 128),
			in(tensor.Shape{cols}, tensor.F32, 0.001, 0.01), {Shape: tensor.Shape{cols}, DType: tensor.I8, Max: 1},
			in(nil, tensor.F32, 0.05, 0.1), in(nil, tensor.I8, 0, 9), in(tensor.Shape{cols}, tensor.I32, -9000, 9000)}
	}
	r := graph.Requant{Out: tensor.I8, Bias: true, Act: "relu"}
	for _, d := range []tensor.DType{tensor.I8, tensor.U8} {
		for _, c := range []struct {
			x, w []int
			a    graph.Conv2D
		}{
			{[]int{2, 32, 14, 26}, []int{64, 32, 3, 3}, graph.Conv2D{}},
			{[]int{1, 16, 9, 9}, []int{33, 16, 3, 3}, graph.Conv2D{Pad: [4]int{1, 1, 1, 1}, Stride: [2]int{2, 2}}},
			{[]int{3, 64, 5, 4}, []int{20, 64, 1, 1}, graph.Conv2D{}},
			{[]int{1, 1, 28, 28}, []int{32, 1, 3, 3}, graph.Conv2D{}},
			{[]int{1, 64, 8, 8}, []int{48, 32, 3, 3}, graph.Conv2D{Groups: 2, Pad: [4]int{1, 1, 1, 1}}},
		} {
			x := tensor.Shape{c.x[0], c.x[2], c.x[3], c.x[1]}
			out[fmt.Sprint("conv", d, c)] = graph.Sample{In: operands(x, c.w, d, c.w[0]), Attrs: graph.QConv2D{Requant: r, Conv: c.a, NHWC: true}}
		}
		for _, s := range [][3]int{{16, 16, 64}, {100, 130, 257}, {33, 1, 64}, {2, 200, 300}, {7, 65, 1000}, {250, 48, 96}} {
			out[fmt.Sprint("matmul", d, s)] = graph.Sample{In: operands(tensor.Shape{s[0], s[2]}, tensor.Shape{s[2], s[1]}, d, s[1]), Attrs: graph.QMatMul{Requant: r}}
		}
	}
	return out
}

// TestQuantExact: every kernel gives the reference's bits at every instruction-set level; where a result passes
// through gelu, which levels round differently, one step of 8 bits or a few units of float32.
func TestQuantExact(t *testing.T) {
	defer initCPU(maxISA(), 2)
	defer capQ8("")
	check := func(t *testing.T, op string, s graph.Sample) {
		_, node, feeds, err := sampleGraph(mustOp(t, op), s, tensor.F32)
		require.NoError(t, err)
		want := runCall(t, node, feeds, true, [2]int{-1, -1}, 1)
		for level, isa := range isaNames {
			for _, kind := range []string{"plain", "vnni", ""} {
				initCPU(level, 1)
				capQ8(kind)
				got := runLevel(t, node, feeds)
				if got == nil {
					continue
				}
				if strings.HasPrefix(activationOf(s.Attrs), "gelu") {
					w, g := want[0].Load(), got[0].Load()
					for i := range w {
						require.LessOrEqual(t, math.Abs(w[i]-g[i]), 1.0, "%s %s: element %d", isa, kind, i)
					}
					continue
				}
				require.Equal(t, want[0].Load(), got[0].Load(), "%s %s", isa, kind)
			}
		}
	}
	for _, op := range quantOps {
		for i, s := range mustOp(t, op).Samples {
			t.Run(fmt.Sprint(op, i, s.Name), func(t *testing.T) { check(t, op, s) })
		}
	}
	for name, s := range quantCases() {
		op := "qmatmul"
		if strings.HasPrefix(name, "conv") {
			op = "qconv2d"
		}
		t.Run(name, func(t *testing.T) { check(t, op, s) })
	}
}

func activationOf(attrs any) string {
	if a, ok := attrs.(graph.QMatMul); ok {
		return a.Act
	}
	return ""
}

func mustOp(t *testing.T, name string) *graph.Op {
	t.Helper()
	op, ok := graph.Lookup(name)
	require.True(t, ok, name)
	return op
}

// runLevel is runCall's fast part at the level in use, with the constants that bind sees in a program.
func runLevel(t *testing.T, n *graph.Node, feeds map[*graph.Value]*tensor.Tensor) []View {
	t.Helper()
	c := &Call{Op: n.Op.Name, Attrs: n.Attrs, Precision: tensor.F32}
	for i, v := range n.In {
		x := newOffHeap(v.Type)
		t.Cleanup(func() { _ = x.DType })
		copy(x.Bytes(), feeds[v].Bytes())
		c.In = append(c.In, View{v.Type, x.Bytes()})
		c.Const = append(c.Const, i > 0)
	}
	for _, o := range n.Out {
		x := newOffHeap(o.Type)
		t.Cleanup(func() { _ = x.DType })
		c.Out = append(c.Out, View{o.Type, x.Bytes()})
	}
	run := fasts[c.Op](c)
	if run == nil {
		return nil
	}
	run()
	return c.Out
}

// Rounding is to even, saturation at both ends, and NaN falls to the lower one.
func TestQuantizeEdges(t *testing.T) {
	t.Parallel()
	inf := float32(math.Inf(1))
	x := tensor.Of(tensor.Shape{9}, 0.5, 1.5, -0.5, -1.5, 2.5, 1e30, -inf, inf, float32(math.NaN()))
	for _, reference := range []bool{true, false} {
		got := runOp(t, "quantize_linear", graph.Quantize{}, reference, x, tensor.Of(tensor.Shape{}, float32(1)), tensor.Of(tensor.Shape{}, int8(3)))[0]
		require.Equal(t, []float64{3, 5, 3, 1, 5, 127, -128, 127, -128}, got.Float64s())
	}
}

// The result of ONNX's own example of DynamicQuantizeLinear, a tensor of zeros, and both versions on random numbers.
func TestDynamicQuantize(t *testing.T) {
	t.Parallel()
	for _, reference := range []bool{true, false} {
		out := runOp(t, "dynamic_quantize", nil, reference, tensor.Of(tensor.Shape{6}, float32(0), 2, -3, -2.5, 1.34, 0.5))
		require.Equal(t, []float64{153, 255, 0, 26, 221, 179}, out[0].Float64s())
		require.InDelta(t, 0.0196078438, out[1].Float64s()[0], 1e-9)
		require.Equal(t, []float64{153}, out[2].Float64s())
		out = runOp(t, "dynamic_quantize", nil, reference, tensor.New(tensor.F32, 4))
		require.Equal(t, []float64{0, 0, 0, 0}, out[0].Float64s())
	}
	x, p := tensor.New(tensor.F32, 40_003), tensor.NewPhilox(2, 9)
	p.FillNormal(tensor.Data[float32](x), 0.3, 2)
	want, got := runOp(t, "dynamic_quantize", nil, true, x), runOp(t, "dynamic_quantize", nil, false, x)
	for i := range want {
		require.Equal(t, want[i].Bytes(), got[i].Bytes())
	}
}

// Steady state: an integer product allocates nothing.
func TestQuantNoAllocation(t *testing.T) {
	i := slices.IndexFunc(mustOp(t, "qmatmul").Samples, func(s graph.Sample) bool { return s.Name == "flatten" })
	_, node, feeds, err := sampleGraph(mustOp(t, "qmatmul"), mustOp(t, "qmatmul").Samples[i], tensor.F32)
	require.NoError(t, err)
	c := &Call{Op: "qmatmul", Attrs: node.Attrs}
	for _, v := range append(slices.Clone(node.In), node.Out...) {
		x := newOffHeap(v.Type)
		t.Cleanup(func() { _ = x.DType })
		if f := feeds[v]; f != nil {
			copy(x.Bytes(), f.Bytes())
			c.In = append(c.In, View{v.Type, x.Bytes()})
		} else {
			c.Out = append(c.Out, View{v.Type, x.Bytes()})
		}
	}
	run, err := Bind(c, false)
	require.NoError(t, err)
	require.Zero(t, testing.AllocsPerRun(10, run))
}
