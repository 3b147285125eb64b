//go:build cuda

package cuda

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"ringo/models"
	"ringo/runtime"
	"ringo/runtime/backend"
	"ringo/runtime/graph"
	"ringo/runtime/plan"
	"ringo/runtime/tensor"
)

// What Explain says of graphs is what steps do: as many are captured, of these ranges, and the inputs it names lie outside.
func TestExplainNamesWhatIsOutsideGraphs(t *testing.T) {
	e, said := explainedFor(t, 4)

	s, err := runtime.NewStep(e)
	require.NoError(t, err)
	p := e.Program()
	for range 2 {
		require.NoError(t, s.Begin(1e-3, 0.1, 0.05))
		require.NoError(t, s.Lanes(0, 4, func(int) error {
			for name, r := range p.Inputs {
				if r.Type.DType == tensor.I32 {
					require.NoError(t, e.Feed(name, make([]byte, r.Type.Bytes())))
				}
			}
			return nil
		}, nil))
		require.NoError(t, s.Update())
	}
	ran := e.(*exec)
	// The update of so small a model is one launch over all parameters.
	require.Len(t, ran.phases, 1)
	require.Equal(t, [2]int{0, p.Split}, [2]int{ran.phases[0].from, ran.phases[0].to})
	require.Contains(t, said.String(), fmt.Sprintf("lane phase: one graph of %d launches, instructions 0 to %d, once per lane (4)", ran.starts[p.Split], p.Split-1))
	require.Contains(t, said.String(), fmt.Sprintf("update: too short for a graph, 1 launches, instructions %d to %d\n", p.Split, len(p.Instrs)-1))
	for name := range p.Inputs {
		require.Contains(t, said.String(), "input "+name+",")
	}
	require.Contains(t, said.String(), "sums over 4 lanes: 3 copies of the gradient and 3 additions")
	require.Contains(t, said.String(), "reading outputs (loss): the only wait")

	e, said = explainedFor(t, 1) // then nothing waits for the whole gradient
	require.Equal(t, e.Program().Split, len(e.Program().Instrs))
	require.Contains(t, said.String(), "update: in the lane phase,")
}

// explainedFor compiles a small model for so many lanes, and returns what Explain says of it.
func explainedFor(t *testing.T, lanes int) (backend.Executable, *strings.Builder) {
	t.Helper()
	b := &Backend{softDevice(t)}
	m, err := models.New(models.Config{Name: "gpt", Layers: 1, Heads: 1, Width: 32, Context: 8, Vocab: 11})
	require.NoError(t, err)
	e, err := runtime.Compile(b, b.NewStore(), func(g *graph.Graph) { require.NoError(t, m.Loss(g, 1, true)) }, backend.Tuned(b, plan.Options{Training: &plan.Training{
		Lanes: lanes,
		Rule: func(graph.Leaf) plan.Update {
			return plan.Update{Op: "adamw", Attrs: graph.AdamW{Beta1: 0.9, Beta2: 0.95, Eps: 1e-8}, Slots: []string{"m", "v"}}
		}}}))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, e.Close()) })
	said := &strings.Builder{}
	e.(backend.Explainer).Explain(said)
	return e, said
}
