package plan_test

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"ringo/models"
	"ringo/runtime/graph"
	"ringo/runtime/plan"
	"ringo/runtime/tensor"
)

// onGPU are the options that CUDA asks for.
func onGPU(rows int) plan.Options {
	return plan.Options{Training: &plan.Training{Rule: rule}, Precision: tensor.BF16, Storage: tensor.BF16, PadClasses: true, BiasInProduct: true,
		HalfGradients: true, ClassifierRows: rows, Logits: plan.Logits{Bytes: 3 << 29, Rows: 8192}, Disable: []string{"keep-slope"}}
}

func ops(p *plan.Program) map[string]int {
	count := map[string]int{}
	for _, in := range p.Instrs {
		count[in.Op.Name]++
	}
	return count
}

// The benchmark gpt2-124m-gpu, 64 sequences of 1024 tokens, takes less memory than llm.c with its default -r 1: 22.5 GiB.
func TestMemoryOfGPT2(t *testing.T) {
	t.Parallel()
	const gib = 1 << 30
	for _, c := range []struct {
		name                        string
		layers, heads, width, batch int
		chunks                      int
		whole, chunked              float64 // GiB at most
	}{
		{"124m", 12, 12, 768, 64, 4, 26.1, 21.7},
		{"350m", 24, 16, 1024, 32, 2, 32, 30.7},
	} {
		cfg := gpt(c.layers, c.heads, c.width, 1024, 50257)
		rows := 1024 * c.batch
		whole := program(t, cfg, c.batch, onGPU(rows))
		chunked := program(t, cfg, c.batch, onGPU(0))
		t.Logf("%s: %.2f GiB, in chunks %.2f", c.name, float64(whole.ArenaBytes())/gib, float64(chunked.ArenaBytes())/gib)
		require.Equal(t, 1, ops(whole)["cross_entropy_fused"])
		require.Equal(t, c.chunks, ops(chunked)["cross_entropy_fused"])
		require.Zero(t, ops(chunked)["slice"]+ops(chunked)["concat"], "rows are read and written where they lie")
		require.Less(t, float64(whole.ArenaBytes())/gib, c.whole)
		require.Less(t, float64(chunked.ArenaBytes())/gib, c.chunked)
		at := map[int64]bool{}
		for _, in := range chunked.Instrs {
			if in.Op.Name == "cross_entropy_fused" {
				at[chunked.Buffers[in.In[0].Buf].Offset] = true
				require.Equal(t, in.In[0].Buf, in.Out[1].Buf, "dlogits in place")
			}
		}
		require.Len(t, at, 1, "all chunks of logits in one place")
	}
}

// A weight's gradient is summed in one buffer of f32, and that of a tied one with the embedding's; the update reads it there. With
// several lanes the sum lies in the flat gradient from the first chunk on.
func TestWeightGradientOfChunks(t *testing.T) {
	t.Parallel()
	cfg := gpt(1, 2, 32, 64, 50257)
	for _, lanes := range []int{1, 2} {
		opt := onGPU(48)
		opt.Training.Lanes = lanes
		p := program(t, cfg, 2, opt)
		sums, terms := map[int]bool{}, 0
		for _, in := range p.Instrs {
			if a, ok := in.Attrs.(graph.MatMul); ok && a.Term {
				terms++
				sums[in.Out[0].Buf] = true
				require.Equal(t, "f32(50304,32)", in.Out[0].Type.String())
			}
		}
		require.Equal(t, 3, terms, "128 rows by 48")
		require.Len(t, sums, 1)
	}
	opt := onGPU(48)
	opt.Training.Lanes = 2
	untied := models.Config{Name: "llama", Layers: 1, Heads: 2, Width: 32, Context: 64, Vocab: 1024}
	p := program(t, untied, 2, opt)
	terms := 0
	for _, in := range p.Instrs {
		if a, ok := in.Attrs.(graph.MatMul); ok && a.Term {
			terms++
			require.Equal(t, plan.Grad, p.Buffers[in.Out[0].Buf].Region)
		}
	}
	require.Equal(t, 3, terms)
}

// Explain says in how many chunks.
func TestExplainsChunks(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	plan.Explain(&out, program(t, gpt(1, 2, 32, 64, 65), 2, plan.Options{Training: &plan.Training{Rule: rule}, ClassifierRows: 48}))
	require.Contains(t, out.String(), "classifier in 3 chunks of 48 rows (train.classifier_rows)")
	out.Reset()
	plan.Explain(&out, program(t, gpt(1, 2, 32, 64, 65), 2, plan.Options{Training: &plan.Training{Rule: rule}}))
	require.NotContains(t, out.String(), "chunks")
}

// One chunk is the plan without the pass; so is a classifier whose logits something else reads, and automatic chunks of few rows.
func TestClassifiersInOnePiece(t *testing.T) {
	t.Parallel()
	explain := func(rows, bytesAtOnce int, disable ...string) string {
		var out bytes.Buffer
		plan.Explain(&out, program(t, gpt(1, 2, 32, 64, 65), 4, plan.Options{Training: &plan.Training{Rule: rule}, ClassifierRows: rows,
			Logits: plan.Logits{Bytes: bytesAtOnce, Rows: 129}, Disable: disable}))
		return out.String()
	}
	want := explain(0, 0)
	require.Equal(t, want, explain(256, 0))
	require.Equal(t, want, explain(1000, 0))
	require.Equal(t, want, explain(0, 1), "at least 129 of 256 rows")
	require.Equal(t, want, explain(100, 0, "classifier-rows"))
	require.NotEqual(t, want, explain(100, 0))

	g, err := graph.Build(func(g *graph.Graph) {
		w := g.Param(graph.Leaf{Name: "w", Type: graph.Type{DType: tensor.F32, Shape: tensor.Shape{8, 16}}})
		logits := g.Linear(g.Input("x", tensor.F32, 4, 8), w, nil)
		g.Output("best", g.ArgMax(logits, -1))
		g.Output("loss", g.CrossEntropy(logits, g.Input("y", tensor.I32, 4), graph.CrossEntropy{}))
	})
	require.NoError(t, err)
	p, err := plan.Compile(g, plan.Options{ClassifierRows: 2})
	require.NoError(t, err)
	require.Equal(t, 1, ops(p)["cross_entropy"])
}
