//go:build cuda

package cuda_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"ringo/models"
	"ringo/runtime"
	"ringo/runtime/backend"
	"ringo/runtime/graph"
	"ringo/runtime/plan"
	"ringo/runtime/tensor"
)

// A classifier of a number of classes whose rows do not start on 16 bytes trains as on the CPU, which pads nothing: tied to the
// embedding, and with its own weight, the other way round, and bias.
func TestOddNumberOfClasses(t *testing.T) {
	device, cpu := tested(t), open(t, "cpu", backend.Options{})
	for _, tied := range []bool{true, false} {
		for precision, tol := range map[tensor.DType]float64{tensor.F32: 1e-5, tensor.BF16: 2e-2} {
			t.Run(fmt.Sprint(precision, " tied ", tied), func(t *testing.T) {
				want, wantRows := trainClassifier(t, cpu, tied, precision, 0)
				got, rows := trainClassifier(t, device, tied, precision, 0)
				require.Equal(t, 1027, wantRows)
				require.Equal(t, 1088, rows)
				for step := range want {
					require.InDelta(t, want[step], got[step], tol*float64(want[0]), "loss of step %d", step)
				}
				require.Less(t, want[3], 0.97*want[0], "it learns")
			})
		}
	}
}

// In chunks of rows, of which the last is shorter or not, that classifier trains as in one.
func TestClassifierInChunks(t *testing.T) {
	device := tested(t)
	for _, tied := range []bool{true, false} {
		for precision, tol := range map[tensor.DType]float64{tensor.F32: 1e-6, tensor.BF16: 5e-3} {
			t.Run(fmt.Sprint(precision, " tied ", tied), func(t *testing.T) {
				want, _ := trainClassifier(t, device, tied, precision, 0)
				each := 8
				if tied { // rows of bf16 that do not start where tensors may: they are copied
					each = 10
				}
				got, columns := trainClassifier(t, device, tied, precision, each)
				require.Equal(t, 1088, columns)
				for step := range want {
					require.InDelta(t, want[step], got[step], tol*float64(want[0]), "loss of step %d", step)
				}
				again, _ := trainClassifier(t, device, tied, precision, each)
				require.Equal(t, got, again)
			})
		}
	}
}

// What this backend asks of the planner keeps a step of the benchmark gpt2-124m-gpu, 64 sequences of 1024 tokens, below the 22.5 GiB that
// llm.c holds with its default -r 1; an evaluation of as many adds 1.7 GiB.
func TestMemoryOfGPT2(t *testing.T) {
	t.Parallel()
	b := open(t, "soft", backend.Options{})
	m, err := models.New(models.Config{Name: "gpt", Layers: 12, Heads: 12, Width: 768, Context: 1024, Vocab: 50257})
	require.NoError(t, err)
	var bytes int64
	for _, training := range []*plan.Training{{Rule: func(graph.Leaf) plan.Update {
		return plan.Update{Op: "adamw", Attrs: graph.AdamW{}, Slots: []string{"m", "v"}}
	}}, nil} {
		g, err := graph.Build(func(g *graph.Graph) { require.NoError(t, m.Loss(g, 64, training != nil)) })
		require.NoError(t, err)
		p, err := plan.Compile(g, backend.Tuned(b, plan.Options{Precision: tensor.BF16, Training: training}))
		require.NoError(t, err)
		if bytes += p.ArenaBytes(); training != nil {
			require.Less(t, float64(bytes)/(1<<30), 21.7)
		} else {
			bytes -= p.Sizes[plan.Persist] // the steps' own
		}
	}
	require.Less(t, float64(bytes)/(1<<30), 23.4)
}

// trainClassifier returns the losses of four steps and how long rows of logits are, of which each are computed at once; 0 for all.
func trainClassifier(t *testing.T, b backend.Backend, tied bool, precision tensor.DType, each int) (losses []float32, columns int) {
	t.Helper()
	const rows, width, classes = 20, 24, 1027
	st := b.NewStore()
	defer st.Close()
	e, err := runtime.Compile(b, st, func(g *graph.Graph) {
		param := func(name string, shape ...int) *graph.Value {
			return g.Param(graph.Leaf{Name: name, Type: graph.Type{DType: tensor.F32, Shape: shape}, Init: graph.Normal(0.3)})
		}
		x, y := g.Input("x", tensor.I32, 2, rows/2), g.Input("y", tensor.I32, rows)
		table := param("table", classes, width)
		h := g.Gelu(g.Linear(g.Embedding(table, x), param("fc", width, width), nil), true)
		logits := g.LinearT(h, table, nil)
		if !tied {
			logits = g.Linear(h, param("head", width, classes), param("bias", classes))
		}
		g.Output("loss", g.CrossEntropy(logits, y, graph.CrossEntropy{}))
	}, plan.Options{Precision: precision, ClassifierRows: each, Training: &plan.Training{Rule: func(graph.Leaf) plan.Update {
		return plan.Update{Op: "adamw", Attrs: graph.AdamW{Beta1: 0.9, Beta2: 0.99, Eps: 1e-8}, Slots: []string{"m", "v"}}
	}}})
	require.NoError(t, err)
	defer e.Close()
	require.NoError(t, runtime.Init(st, e.Program(), 5))
	s, err := runtime.NewStep(e)
	require.NoError(t, err)
	tokens := tensor.New(tensor.I32, rows)
	for i := range tensor.Data[int32](tokens) {
		tensor.Data[int32](tokens)[i] = int32(i * 54 % classes) // the last is 1026, the last class
	}
	b1, b2 := 1.0, 1.0
	for range 4 {
		b1, b2 = b1*0.9, b2*0.99
		require.NoError(t, s.Begin(1e-2, 1-b1, 1-b2))
		require.NoError(t, s.Lanes(0, 1, func(int) error {
			if err := e.Feed("x", tokens.Bytes()); err != nil {
				return err
			}
			return e.Feed("y", tokens.Bytes())
		}, nil))
		require.NoError(t, s.Update())
		loss, err := s.Mean("loss")
		require.NoError(t, err)
		losses = append(losses, loss)
	}
	for _, in := range e.Program().Instrs {
		if in.Op.Name == "cross_entropy_fused" {
			columns = in.In[0].Type.Shape[1]
		}
	}
	return losses, columns
}
