package runtime_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"ringo/runtime"
	"ringo/runtime/backend"
	"ringo/runtime/graph"
	"ringo/runtime/plan"
	"ringo/runtime/tensor"
)

// TestUpdatesInGroups: a program run as a whole, where neighbouring updates are one call, or in pieces that cut such calls, gives the
// same bits, by each rule there is.
func TestUpdatesInGroups(t *testing.T) {
	rules := map[string]func(graph.Leaf) plan.Update{
		"adamw": adamw,
		"sgd": func(graph.Leaf) plan.Update {
			return plan.Update{Op: "sgd", Attrs: graph.SGD{Momentum: 0.9}, Slots: []string{"m"}}
		},
		"lion": func(graph.Leaf) plan.Update {
			return plan.Update{Op: "lion", Attrs: graph.Lion{Beta1: 0.9, Beta2: 0.99}, Slots: []string{"m"}}
		},
	}
	for name, rule := range rules {
		var want [][]byte
		for _, piece := range []int{1 << 20, 1, 2, 3, 5} {
			b, err := backend.Open("cpu", backend.Options{})
			require.NoError(t, err)
			st := b.NewStore()
			e, err := runtime.Compile(b, st, network(16, 200), plan.Options{Training: &plan.Training{Lanes: 1, Rule: rule}})
			require.NoError(t, err)
			require.NoError(t, runtime.Init(st, e.Program(), 5))
			s, err := runtime.NewStep(e)
			require.NoError(t, err)
			x := tensor.New(tensor.F32, 16, 24)
			rng := tensor.NewPhilox(1, 1)
			rng.FillNormal(tensor.Data[float32](x), 0, 1)
			require.NoError(t, e.Feed("x", x.Bytes()))
			for range 3 {
				require.NoError(t, s.Begin(1e-2, 0.1, 0.01))
				for i, n := 0, len(e.Program().Instrs); i < n; i += piece {
					require.NoError(t, e.Run(i, min(n, i+piece)))
				}
			}
			var got [][]byte
			for _, tr := range e.Program().Tensors {
				raw := make([]byte, tr.Type.Bytes())
				require.NoError(t, st.Read(tr.Name, raw))
				got = append(got, raw)
			}
			if want == nil {
				want = got
			}
			require.Equal(t, want, got, "%s: pieces of %d", name, piece)
			require.NoError(t, e.Close())
			require.NoError(t, st.Close())
		}
	}
}
