package kernels

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"ringo/runtime/backend/backendtest"
	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

// BenchmarkMemoryBound reports GB/s of bytes that must move: inputs read once, outputs written once.
func BenchmarkMemoryBound(b *testing.B) {
	f := graph.In
	for _, c := range []struct {
		op    string
		attrs any
		in    []graph.SampleIn
	}{
		{"copy", nil, []graph.SampleIn{f(4096, 1024)}},
		{"add", nil, []graph.SampleIn{f(4096, 1024), f(4096, 1024)}},
		{"add", nil, []graph.SampleIn{f(4096, 1024), f(1024)}},
		{"mul", nil, []graph.SampleIn{f(4096, 1024), f()}},
		{"mul", nil, []graph.SampleIn{f(64, 128), f(64, 128)}},
		{"relu", nil, []graph.SampleIn{f(4096, 1024)}},
		{"exp", nil, []graph.SampleIn{f(4096, 1024)}},
		{"tanh", nil, []graph.SampleIn{f(4096, 1024)}},
		{"gelu", graph.Gelu{Tanh: true}, []graph.SampleIn{f(4096, 1024)}},
		{"gelu_grad", graph.Gelu{Tanh: true}, []graph.SampleIn{f(4096, 1024), f(4096, 1024)}},
		{"swiglu", nil, []graph.SampleIn{f(4096, 1024)}},
		{"cast", graph.Cast{To: tensor.BF16}, []graph.SampleIn{f(4096, 1024)}},
		{"where", nil, []graph.SampleIn{{Shape: tensor.Shape{4096, 1024}, DType: tensor.Bool}, f(4096, 1024), f()}},
		{"sum", graph.Reduce{}, []graph.SampleIn{f(4096, 1024)}},
		{"sum", graph.Reduce{Axes: []int{0}}, []graph.SampleIn{f(4096, 768)}},
		{"sum", graph.Reduce{Axes: []int{0}}, []graph.SampleIn{f(768, 128)}},
		{"sum", graph.Reduce{Axes: []int{1}}, []graph.SampleIn{f(4096, 1024)}},
		{"max", graph.Reduce{Axes: []int{1}}, []graph.SampleIn{f(4096, 1024)}},
		{"sum", graph.Reduce{Axes: []int{0, 2, 3}}, []graph.SampleIn{f(64, 32, 28, 28)}},
		{"transpose", graph.Transpose{Perm: []int{1, 0}}, []graph.SampleIn{f(2048, 2048)}},
		{"transpose", graph.Transpose{Perm: []int{1, 0}}, []graph.SampleIn{f(4000, 768)}},
		{"transpose", graph.Transpose{Perm: []int{0, 2, 1, 3}}, []graph.SampleIn{f(16, 256, 12, 64)}},
		{"concat", graph.Concat{Axis: 1}, []graph.SampleIn{f(4096, 512), f(4096, 512)}},
		{"slice", graph.Slice{Start: []int{0, 512}, End: []int{4096, 1024}, Step: []int{1, 1}}, []graph.SampleIn{f(4096, 1024)}},
		{"embedding", nil, []graph.SampleIn{f(50257, 768), graph.InIndex(50257, 1024)}},
		{"embedding_grad", graph.EmbeddingGrad{V: 50257}, []graph.SampleIn{f(256, 768), graph.InIndex(50257, 256)}},
		{"embedding_grad", graph.EmbeddingGrad{V: 65}, []graph.SampleIn{f(16384, 384), graph.InIndex(65, 16384)}},
	} {
		name := c.op
		for _, in := range c.in {
			name += in.Shape.String()
		}
		b.Run(name, func(b *testing.B) { benchCall(b, c.op, c.attrs, c.in) })
	}
}

func benchCall(b *testing.B, op string, attrs any, in []graph.SampleIn) {
	call, bytes := &Call{Op: op, Attrs: attrs, Precision: tensor.F32}, 0
	var keep []*tensor.Tensor
	view := func(t graph.Type) View {
		x := newOffHeap(t)
		keep = append(keep, x)
		return View{t, x.Bytes()}
	}
	_, err := graph.Build(func(g *graph.Graph) {
		var args []*graph.Value
		for i, s := range in {
			x := backendtest.Fill(s, tensor.F32, uint64(i))
			args = append(args, g.Input(fmt.Sprint("x", i), x.DType, x.Shape...))
			v := view(args[i].Type)
			copy(v.Bytes, x.Bytes())
			call.In = append(call.In, v)
			if op != "embedding" || i > 0 {
				bytes += len(v.Bytes)
			}
		}
		for _, o := range g.ApplyN(op, attrs, args...) {
			v := view(o.Type)
			call.Out = append(call.Out, v)
			bytes += len(v.Bytes)
		}
	})
	require.NoError(b, err)
	run := fasts[op](call)
	require.NotNil(b, run)
	Init(0)
	run()
	b.SetBytes(int64(bytes))
	b.ReportAllocs()
	for b.Loop() {
		run()
	}
	_ = keep
}
