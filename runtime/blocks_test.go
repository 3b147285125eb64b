package runtime_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"ringo/kernels"
	"ringo/runtime"
	"ringo/runtime/backend"
	"ringo/runtime/graph"
	"ringo/runtime/plan"
	"ringo/runtime/tensor"
)

// wide is a classifier whose weights fill blocks, and do not fill whole ones; products alone read its norm.
func wide(batch int) func(g *graph.Graph) {
	return func(g *graph.Graph) {
		p := func(name string, shape ...int) *graph.Value {
			return g.Param(graph.Leaf{Name: name, Type: graph.Type{DType: tensor.F32, Shape: shape}, Init: graph.Normal(0.2)})
		}
		h := g.Gelu(g.Linear(g.LayerNorm(g.Input("x", tensor.F32, batch, 48), p("ln.weight", 48), p("ln.bias", 48), 1e-5), p("fc.weight", 48, 70), p("fc.bias", 70)), true)
		h = g.Relu(g.LinearT(h, p("mid.weight", 33, 70), nil))
		g.Output("loss", g.CrossEntropy(g.Linear(h, p("head.weight", 33, 40), nil), g.Input("y", tensor.I32, batch), graph.CrossEntropy{}))
	}
}

// Weights that are kept in bf16 blocks beside the parameters follow them, whoever changes them: the program's own updates, eager
// or flat, and writes from outside. Without blocks, and with the update apart from the product, losses are the same to the bit.
func TestWeightsInBlocksFollowTheParameters(t *testing.T) {
	b, err := backend.Open("cpu", backend.Options{})
	require.NoError(t, err)
	for _, train := range []plan.Training{{}, {Clip: 1e9}} {
		course := func(disable ...string) []float32 {
			const batch = 64
			st := b.NewStore()
			defer st.Close()
			train.Lanes, train.Rule = 1, adamw
			e, err := runtime.Compile(b, st, wide(batch), plan.Options{Precision: tensor.BF16, Training: &train, Disable: disable})
			require.NoError(t, err)
			defer e.Close()
			require.NoError(t, runtime.Init(st, e.Program(), 5))
			x, y := tensor.New(tensor.F32, batch, 48), tensor.New(tensor.I32, batch)
			rng := tensor.NewPhilox(1, 1)
			rng.FillNormal(tensor.Data[float32](x), 0, 1)
			for i, v := range rng.Perm(batch) {
				tensor.Data[int32](y)[i] = v % 7
			}
			if kernels.ISA() == "amx" {
				require.Equal(t, slices.Contains(disable, "blocks"), len(e.Program().Blocks) == 0)
				want := 1
				if slices.Contains(disable, "half-factors") {
					want = 0
				}
				require.Equal(t, want, halves(e.Program()))
			}
			require.NoError(t, e.Feed("x", x.Bytes()))
			require.NoError(t, e.Feed("y", y.Bytes()))
			s, err := runtime.NewStep(e)
			require.NoError(t, err)
			start := map[string][]byte{}
			for _, tr := range e.Program().Tensors {
				start[tr.Name] = make([]byte, tr.Type.Bytes())
				require.NoError(t, st.Read(tr.Name, start[tr.Name]))
			}
			var out []float32
			for i := range 8 {
				if i == 4 { // once more from the start
					for name, raw := range start {
						require.NoError(t, st.Write(name, raw))
					}
				}
				require.NoError(t, s.Begin(1e-2, 0.1, 0.01))
				require.NoError(t, s.Lanes(0, 1, func(int) error { return nil }, nil))
				require.NoError(t, s.Update())
				l, err := s.Mean("loss")
				require.NoError(t, err)
				out = append(out, l)
			}
			return out
		}
		got := course()
		require.Less(t, got[3], got[0])
		require.Equal(t, got[:4], got[4:])
		require.Equal(t, course("blocks", "fuse-update", "half-factors"), got)
		require.Equal(t, course("half-factors"), got)
		require.Equal(t, course("blocks"), got)
	}
}

// halves counts the instructions other than "blocks" that write bf16.
func halves(p *plan.Program) (n int) {
	for _, in := range p.Instrs {
		bf16 := slices.ContainsFunc(in.Out, func(r plan.Ref) bool { return r.Type.DType == tensor.BF16 })
		if bf16 && in.Op.Name != "blocks" && in.Op.Name != "matmul_adamw" {
			n++
		}
	}
	return n
}
