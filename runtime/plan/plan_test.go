package plan_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"ringo/models"
	"ringo/runtime/backend"
	"ringo/runtime/graph"
	"ringo/runtime/plan"
	"ringo/runtime/tensor"
)

func rule(p graph.Leaf) plan.Update {
	return plan.Update{Op: "adamw", Attrs: graph.AdamW{Beta1: 0.9, Beta2: 0.95, Eps: 1e-8}, Slots: []string{"m", "v"}}
}

func program(t *testing.T, cfg models.Config, batch int, opt plan.Options) *plan.Program {
	t.Helper()
	m, err := models.New(cfg)
	require.NoError(t, err)
	g, err := graph.Build(func(g *graph.Graph) { require.NoError(t, m.Loss(g, batch, true)) })
	require.NoError(t, err)
	p, err := plan.Compile(g, opt)
	require.NoError(t, err)
	return p
}

func gpt(layers, heads, width, context, vocab int) models.Config {
	return models.Config{Name: "gpt", Layers: layers, Heads: heads, Width: width, Context: context, Vocab: vocab}
}

// GPT-2 1.5B is planned, and bound to the null device, with no memory for it: 1,557,611,200 parameters.
func TestPlansWhatDoesNotFit(t *testing.T) {
	t.Parallel()
	p := program(t, gpt(48, 25, 1600, 1024, 50257), 1, plan.Options{Training: &plan.Training{Rule: rule}})
	var params int64
	for _, x := range p.Tensors {
		if x.Kind == "param" {
			params += int64(x.Type.Shape.Size())
		}
	}
	require.EqualValues(t, 1557611200, params)
	require.True(t, p.Eager)
	b := backend.Null{}
	e, err := b.Compile(p, b.NewStore())
	require.NoError(t, err)
	require.ErrorContains(t, e.Feed("tokens", nil), "expected 4096")
}

// The plan of a GPT has the fusions it should have: no activation or residual sum stands alone, and the
// classifier's gradient takes the place of the logits.
func TestFusesGPT(t *testing.T) {
	t.Parallel()
	p := program(t, gpt(2, 2, 32, 16, 65), 2, plan.Options{Training: &plan.Training{Rule: rule}})
	count := map[string]int{}
	for _, in := range p.Instrs {
		count[in.Op.Name]++
		if in.Op.Name == "cross_entropy_fused" {
			require.Equal(t, in.In[0].Buf, in.Out[1].Buf, "dlogits in place")
		}
	}
	require.Zero(t, count["gelu"]+count["gelu_grad"]+count["cross_entropy_grad"]+count["fill"]+count["mul"], "%v", count)
	require.Equal(t, 1, count["add"], "token and position embedding: %v", count)
	var out bytes.Buffer
	plan.Explain(&out, p)
	require.Contains(t, out.String(), "transformer.h.0.attn.c_attn")
	require.Contains(t, out.String(), "GFLOP")
}

// Gradients wait in one flat buffer, cut into buckets that cover it once.
func TestBucketsCoverTheGradient(t *testing.T) {
	t.Parallel()
	p := program(t, gpt(12, 12, 768, 64, 50257), 1, plan.Options{Training: &plan.Training{Rule: rule, Lanes: 4, Clip: 1}})
	require.False(t, p.Eager)
	at := p.Sizes[plan.Grad]
	for _, b := range p.Buckets {
		require.Equal(t, at, b.Offset+b.Bytes)
		require.GreaterOrEqual(t, b.Ready, 0)
		at = b.Offset
	}
	require.Zero(t, at)
	require.Greater(t, len(p.Buckets), 5)
	require.Equal(t, -1, p.Flag)
	shared := program(t, gpt(1, 1, 8, 4, 9), 1, plan.Options{Training: &plan.Training{Rule: rule, Shared: true}})
	require.False(t, shared.Eager)
	require.GreaterOrEqual(t, int64(shared.Flag)*4, shared.GradBytes)
	require.Less(t, int64(shared.Flag)*4, shared.Sizes[plan.Grad])
}

// Each way of computing again takes less memory than the one before; an unknown one is refused.
func TestRecompute(t *testing.T) {
	t.Parallel()
	var last int64
	for _, how := range []string{"none", "gelu", "norm", "block"} {
		p := program(t, gpt(6, 4, 64, 64, 100), 8, plan.Options{Training: &plan.Training{Rule: rule, Clip: 1}, Recompute: how})
		peak := p.PeakWork()
		t.Logf("%s: %d bytes, %d instructions", how, peak, len(p.Instrs))
		if how != "none" {
			require.Less(t, peak, last, how)
		}
		if how == "block" {
			require.Less(t, peak, last/2)
		}
		last = peak
	}
	g, err := graph.Build(func(g *graph.Graph) { g.Output("y", g.Exp(g.Input("x", tensor.F32, 2))) })
	require.NoError(t, err)
	_, err = plan.Compile(g, plan.Options{Recompute: "all"})
	require.ErrorContains(t, err, `recompute "all": expected none, gelu, norm or block`)
}

// Random sizes and options: every plan passes its verifier (Compile runs it), and reusing memory never takes
// more than not reusing it.
func TestRandomPlans(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		heads := rapid.IntRange(1, 3).Draw(r, "heads")
		cfg := gpt(rapid.IntRange(1, 3).Draw(r, "layers"), heads, heads*8, rapid.IntRange(1, 9).Draw(r, "context"), rapid.IntRange(2, 40).Draw(r, "vocab"))
		tr := &plan.Training{Rule: rule, Lanes: 1 << rapid.IntRange(0, 2).Draw(r, "lanes"), Clip: float64(rapid.IntRange(0, 1).Draw(r, "clip")), EMA: 0.5 * float64(rapid.IntRange(0, 1).Draw(r, "ema"))}
		off := rapid.SliceOfDistinct(rapid.SampledFrom(plan.PassNames()), rapid.ID).Draw(r, "off")
		reuse := program(t, cfg, 2, plan.Options{Training: tr, Disable: off})
		apart := program(t, cfg, 2, plan.Options{Training: tr, Disable: append(off, "reuse-memory")})
		require.LessOrEqual(t, reuse.ArenaBytes(), apart.ArenaBytes())
	})
}

func TestUnknownPassIsRefused(t *testing.T) {
	t.Parallel()
	_, err := plan.Compile(&graph.Graph{}, plan.Options{Disable: []string{"speed"}})
	require.ErrorContains(t, err, `pass "speed" cannot be disabled`)
}

func TestDumpShowsEveryPass(t *testing.T) {
	t.Parallel()
	var names []string
	program(t, gpt(1, 1, 8, 4, 9), 1, plan.Options{Precision: tensor.F32, Training: &plan.Training{Rule: rule},
		Dump: func(pass string, g *graph.Graph) { names = append(names, pass) }})
	require.Equal(t, "storage round pad-classes differentiate simplify int8 recompute fuse-loss classifier-rows fuse-epilogue keep-slope fuse-residual simplify-again fuse-bias-grad blocks half-factors prune", strings.Join(names, " "))
}

// Tensors without elements are planned like others, beside live ones.
func TestPlansEmptyTensors(t *testing.T) {
	t.Parallel()
	g, err := graph.Build(func(g *graph.Graph) {
		x := g.Input("x", tensor.F32, 3, 0, 5)
		keep := g.Fill(1, tensor.Bool, 3, 1, 5)
		g.Output("y", g.Where(keep, x, g.Scalar(0, tensor.F32)))
	})
	require.NoError(t, err)
	_, err = plan.Compile(g, plan.Options{})
	require.NoError(t, err)
}

// Classifiers are padded where the device asks for it, rows do not start on 16 bytes, filler is little and nothing else reads
// the logits.
func TestPadsClasses(t *testing.T) {
	t.Parallel()
	columns := func(vocab int, o plan.Options) int {
		o.Training = &plan.Training{Rule: rule}
		for _, in := range program(t, gpt(1, 1, 8, 4, vocab), 1, o).Instrs {
			if in.Op.Name == "cross_entropy_fused" {
				return in.In[0].Type.Shape[1]
			}
		}
		return 0
	}
	asked := plan.Options{PadClasses: true}
	half := plan.Options{PadClasses: true, Precision: tensor.BF16, Storage: tensor.BF16}
	require.Equal(t, 50304, columns(50257, half))
	require.Equal(t, 1027, columns(1027, plan.Options{}))
	require.Equal(t, 1027, columns(1027, plan.Options{PadClasses: true, Disable: []string{"pad-classes"}}))
	require.Equal(t, 1028, columns(1028, asked), "16 bytes of f32")
	require.Equal(t, 1088, columns(1028, half))
	require.Equal(t, 67, columns(67, asked), "filler would be much")
	g, err := graph.Build(func(g *graph.Graph) {
		w := g.Param(graph.Leaf{Name: "w", Type: graph.Type{DType: tensor.F32, Shape: tensor.Shape{8, 1027}}})
		logits := g.Linear(g.Input("x", tensor.F32, 2, 8), w, nil)
		g.Output("best", g.ArgMax(logits, -1))
		g.Output("loss", g.CrossEntropy(logits, g.Input("y", tensor.I32, 2), graph.CrossEntropy{}))
	})
	require.NoError(t, err)
	p, err := plan.Compile(g, asked)
	require.NoError(t, err)
	for _, in := range p.Instrs {
		require.NotEqual(t, "pad", in.Op.Name)
	}
}

// Weight and bias gradients are one product where the device asks for it.
func TestFusesBiasGradients(t *testing.T) {
	t.Parallel()
	count := func(o plan.Options) map[string]int {
		o.Training = &plan.Training{Rule: rule, Clip: 1}
		out := map[string]int{}
		for _, in := range program(t, gpt(2, 2, 32, 16, 65), 2, o).Instrs {
			out[in.Op.Name]++
		}
		return out
	}
	apart, joined := count(plan.Options{}), count(plan.Options{BiasInProduct: true})
	require.Zero(t, apart["linear_grad"])
	require.Equal(t, 8, joined["linear_grad"], "four linear layers with a bias in each of two blocks")
	require.Equal(t, apart["sum"]-8, joined["sum"])
	require.Equal(t, apart["matmul"]-8, joined["matmul"])
	require.Equal(t, apart, count(plan.Options{BiasInProduct: true, Disable: []string{"fuse-bias-grad"}}))
}

// A product moves its parameter where its second factor is no larger than the device asks for: x of 24×784 and of 24×32 numbers.
func TestUpdatesMoveIntoSmallProducts(t *testing.T) {
	t.Parallel()
	for most, want := range map[int]int{0: 2, 24 * 784: 2, 24*784 - 1: 1, 24*32 - 1: 0} {
		opt := plan.Options{Training: &plan.Training{Rule: rule}, FuseUpdate: true, UpdateMost: most}
		p := program(t, models.Config{Name: "mlp", Sizes: []int{32}, Input: tensor.Shape{784}, Classes: 10}, 24, opt)
		n := 0
		for _, in := range p.Instrs {
			if in.Op.Name == "matmul_adamw" {
				n++
			}
		}
		require.Equal(t, want, n, "at most %d", most)
	}
}

// A parameter's update reads the bf16 gradient itself where the device can.
func TestUpdatesReadHalfGradients(t *testing.T) {
	t.Parallel()
	casts := func(o plan.Options) (n int, types []tensor.DType) {
		o.Precision, o.Storage, o.Training = tensor.BF16, tensor.BF16, &plan.Training{Rule: rule}
		for _, in := range program(t, gpt(1, 1, 8, 4, 9), 1, o).Instrs {
			switch in.Op.Name {
			case "cast":
				n++
			case "adamw":
				types = append(types, in.In[1].Type.DType)
				require.Equal(t, in.In[0].Type.Shape, in.In[1].Type.Shape)
			}
		}
		return n, types
	}
	all, types := casts(plan.Options{})
	require.NotContains(t, types, tensor.BF16)
	fewer, half := casts(plan.Options{HalfGradients: true})
	const products = 10 // weights and biases of four linear layers, two embeddings
	require.Equal(t, all-products, fewer)
	require.Len(t, half, len(types))
	n := 0
	for _, d := range half {
		if d == tensor.BF16 {
			n++
		}
	}
	require.Equal(t, products, n)
	_, off := casts(plan.Options{HalfGradients: true, Disable: []string{"eager-update"}})
	require.NotContains(t, off, tensor.BF16, "a flat gradient is f32")
}
