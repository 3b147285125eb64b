//go:build cuda

package cuda_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"ringo/runtime/backend"
	"ringo/runtime/backend/backendtest"
	"ringo/runtime/graph"
	"ringo/runtime/plan"
	"ringo/runtime/tensor"
)

// shape is one op at a size that the op table's samples do not reach: several tiles, long sums that are cut, every head
// size of the tensor-core kernels.
type shape struct {
	op    string
	attrs any
	in    []graph.SampleIn
}

func (s shape) name() string {
	var shapes []string
	for _, in := range s.in {
		shapes = append(shapes, in.Shape.String())
	}
	return s.op + strings.Join(shapes, "")
}

func productShapes() []shape {
	var out []shape
	for _, t := range [][2]bool{{false, false}, {true, false}, {false, true}, {true, true}} {
		for _, z := range [][3]int{{72, 80, 2048}, {264, 144, 72}} { // (m,n,k): a cut sum; several tiles
			a, b := graph.In(z[0], z[2]), graph.In(z[2], z[1])
			if t[0] {
				a = graph.In(z[2], z[0])
			}
			if t[1] {
				b = graph.In(z[1], z[2])
			}
			out = append(out, shape{"matmul", graph.MatMul{TransA: t[0], TransB: t[1]}, []graph.SampleIn{a, b}})
		}
	}
	fused := graph.MatMul{Bias: true, Act: "gelu_tanh", KeepPre: true, Residual: true}
	return append(out,
		shape{"matmul", fused, []graph.SampleIn{graph.In(40, 1100), graph.In(1100, 24), graph.In(24), graph.In(40, 24)}},
		shape{"matmul", graph.MatMul{}, []graph.SampleIn{graph.In(2, 1, 3, 40, 16), graph.In(5, 1, 16, 24)}},
		shape{"matmul", graph.MatMul{TransA: true}, []graph.SampleIn{graph.In(3, 131, 40), graph.In(3, 131, 19)}})
}

func attentionShapes(grad bool) []shape {
	var out []shape
	for i, d := range []int{32, 64, 80, 96, 128, 56, 136} {
		b, t, s, h, kv := 1, 140, 140+i, 2, 1
		if d == 64 {
			b, h, kv = 2, 2, 1
		}
		a := graph.Attention{Causal: i%3 != 2}
		y := graph.In(b, t, h, d)
		in := []graph.SampleIn{y, graph.In(b, s, kv, d), graph.In(b, s, kv, d)}
		if i%2 == 0 { // packed
			a.Packed, a.Heads, a.KVHeads, y = true, h, kv, graph.In(b, t, h*d)
			in = []graph.SampleIn{graph.In(b, t, (h+2*kv)*d)}
		}
		op := "attention"
		if grad {
			op, in = "attention_grad", append(append([]graph.SampleIn{y}, in...), y, graph.InRange(4, 6, b, h, t).Statistic())
		}
		out = append(out, shape{op, a, in})
	}
	return out
}

func cachedShapes() []shape {
	return []shape{
		{"attention_cached", graph.Attention{}, []graph.SampleIn{graph.In(2, 20, 4, 64), graph.In(2, 190, 2, 64), graph.In(2, 190, 2, 64), graph.InIndex(170, 2)}},
		{"attention_cached", graph.Attention{}, []graph.SampleIn{graph.In(2, 1, 6, 64), graph.In(2, 900, 2, 64), graph.In(2, 900, 2, 64), graph.InIndex(900, 2)}},
		{"attention_cached", graph.Attention{}, []graph.SampleIn{graph.In(1, 3, 2, 160), graph.In(1, 400, 1, 160), graph.In(1, 400, 1, 160), graph.InIndex(390)}},
	}
}

func convShapes() []shape {
	var out []shape
	for _, z := range []struct {
		x, w [4]int
		a    graph.Conv2D
	}{
		{[4]int{2, 5, 10, 10}, [4]int{130, 5, 3, 3}, graph.Conv2D{Pad: [4]int{1, 1, 1, 1}}},
		{[4]int{4, 3, 18, 18}, [4]int{8, 3, 3, 3}, graph.Conv2D{Pad: [4]int{1, 1, 1, 1}}}, // dw's sum over 1296 pixels is cut
		{[4]int{2, 16, 17, 15}, [4]int{48, 16, 3, 3}, graph.Conv2D{Pad: [4]int{1, 1, 1, 1}, Stride: [2]int{2, 2}}},
		{[4]int{2, 72, 16, 16}, [4]int{40, 72, 1, 1}, graph.Conv2D{}},
		{[4]int{2, 18, 9, 9}, [4]int{144, 9, 3, 3}, graph.Conv2D{Groups: 2}},
	} {
		y, err := z.a.OutShape(z.x[:], z.w[:])
		if err != nil {
			panic(err)
		}
		x, w, dy := graph.In(z.x[:]...), graph.In(z.w[:]...), graph.In(y[:]...)
		fused := z.a
		fused.Bias, fused.Act = true, "relu"
		out = append(out, shape{"conv2d", fused, []graph.SampleIn{x, w, graph.In(z.w[0])}},
			shape{"conv2d_dx", graph.Conv2DGrad{Conv: z.a, Shape: z.x}, []graph.SampleIn{dy, w}},
			shape{"conv2d_dw", graph.Conv2DGrad{Conv: z.a, Shape: z.w}, []graph.SampleIn{x, dy}})
	}
	return out
}

func normShapes() []shape {
	x, c := graph.InRange(99, 101, 40, 3, 32, 32), graph.In(3)
	return []shape{
		{"batchnorm", graph.Norm{Eps: 1e-5}, []graph.SampleIn{x, c, c}},
		{"batchnorm_grad", graph.Norm{Eps: 1e-5}, []graph.SampleIn{x, x, c, graph.InRange(99, 101, 3).Statistic(), graph.InRange(0.5, 2, 3).Statistic()}},
		{"conv2d_db", nil, []graph.SampleIn{x}},
	}
}

// Rows longer than a block, several stretches of rows, and indices with many places.
func rowShapes() []shape {
	norm := graph.Norm{Eps: 1e-5}
	long, tall, many := graph.In(3, 2088), graph.In(300, 264), graph.In(5001, 40)
	return []shape{
		{"layernorm", norm, []graph.SampleIn{long, graph.In(2088), graph.In(2088)}},
		{"add_rmsnorm", norm, []graph.SampleIn{long, long, graph.In(2088)}},
		{"layernorm_grad", norm, []graph.SampleIn{tall, tall, graph.In(264), graph.In(300).Statistic(), graph.InRange(0.5, 2, 300).Statistic()}},
		{"layernorm_grad", norm, []graph.SampleIn{many, many, graph.In(40), graph.In(5001).Statistic(), graph.InRange(0.5, 2, 5001).Statistic(), many}},
		{"layernorm_grad", norm, []graph.SampleIn{long, long, graph.In(2088), graph.In(3).Statistic(), graph.InRange(0.5, 2, 3).Statistic()}},
		{"rmsnorm_grad", norm, []graph.SampleIn{tall, tall, graph.In(264), graph.InRange(0.5, 2, 300).Statistic()}},
		{"softmax", graph.Softmax{Axis: 1}, []graph.SampleIn{graph.In(5, 2051)}},
		{"cross_entropy_fused", graph.CrossEntropy{Seed: 1}, []graph.SampleIn{graph.In(9, 4111), graph.InIndex(4111, 9)}},
		{"cross_entropy_fused", graph.CrossEntropy{Seed: 1, Classes: 50257}, []graph.SampleIn{graph.In(2, 50304), graph.InIndex(50257, 2)}},
		{"cross_entropy_fused", graph.CrossEntropy{Seed: 1}, []graph.SampleIn{graph.In(2, 120000), graph.InIndex(120000, 2)}}, // no room in shared memory
		{"sum", graph.Reduce{Axes: []int{0}}, []graph.SampleIn{tall}},
		{"mean", graph.Reduce{Axes: []int{0, 1}}, []graph.SampleIn{graph.In(3, 100, 264)}},
		{"embedding_grad", graph.EmbeddingGrad{V: 3}, []graph.SampleIn{graph.In(1000, 24), graph.InIndex(3, 1000)}},
		{"embedding_grad", graph.EmbeddingGrad{V: 40}, []graph.SampleIn{graph.In(1000, 5), graph.InIndex(9, 1000)}},
	}
}

// result runs one op as a program of its own, with its inputs in storage and products rounded to precision.
func (s shape) result(t *testing.T, b backend.Backend, storage, precision tensor.DType) []*tensor.Tensor {
	t.Helper()
	var node *graph.Node
	feeds := map[string]*tensor.Tensor{}
	g, err := graph.Build(func(g *graph.Graph) {
		var in []*graph.Value
		for i, x := range s.in {
			name := fmt.Sprint("x", i)
			feeds[name] = backendtest.Fill(x, storage, uint64(i))
			in = append(in, g.Input(name, feeds[name].DType, feeds[name].Shape...))
		}
		node = g.ApplyN(s.op, s.attrs, in...)[0].Node
		for i, v := range node.Out {
			g.Output(fmt.Sprint("y", i), v)
		}
	})
	require.NoError(t, err)
	p, err := plan.Compile(g, plan.Options{Precision: precision})
	require.NoError(t, err)
	st := b.NewStore()
	defer st.Close()
	e, err := b.Compile(p, st)
	require.NoError(t, err)
	defer e.Close()
	for name, x := range feeds {
		require.NoError(t, e.Feed(name, x.Bytes()))
	}
	require.NoError(t, e.Run(0, len(p.Instrs)))
	var out []*tensor.Tensor
	for i, v := range node.Out {
		y := tensor.New(v.DType, v.Shape...)
		require.NoError(t, e.Fetch(fmt.Sprint("y", i), y.Bytes()))
		out = append(out, y)
	}
	return out
}

// Products, attention and convolutions at several tiles: in f32, with factors rounded to bf16, and with bf16 storage, where
// attention also rounds its weights. The reference is the CPU's f32 arithmetic on the same numbers.
func TestShapes(t *testing.T) {
	t.Parallel()
	shapes := append(productShapes(), attentionShapes(false)...)
	shapes = slices.Concat(shapes, attentionShapes(true), cachedShapes(), convShapes(), normShapes(), rowShapes())
	for _, s := range shapes {
		t.Run(s.name(), func(t *testing.T) {
			t.Parallel()
			device, cpu := tested(t), open(t, "cpu", backend.Options{})
			for _, mode := range []struct {
				storage, precision tensor.DType
				tol                float64
			}{
				{tensor.F32, tensor.F32, 2e-5}, // both sides round
				{tensor.F32, tensor.BF16, backendtest.TolBF16},
				{tensor.BF16, tensor.F32, backendtest.TolBF16},
			} {
				if rounds := s.op == "matmul" || strings.HasPrefix(s.op, "conv2d"); mode.precision == tensor.BF16 && !rounds {
					continue
				}
				want := s.result(t, cpu, mode.storage, tensor.F32)
				got := s.result(t, device, mode.storage, mode.precision)
				for i := range want {
					backendtest.Compare(t, want[i], got[i], mode.tol, fmt.Sprintf("%s in %v by %v, output %d", s.op, mode.storage, mode.precision, i))
				}
			}
		})
	}
}
