package models_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/stretchr/testify/require"

	"ringo/kernels"
	"ringo/models"
	"ringo/models/golden"
	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

// parameters counts the elements of the parameters of a model's training graph.
func parameters(t *testing.T, c models.Config) int {
	m, err := models.New(c)
	require.NoError(t, err)
	n := 0
	_, err = graph.Build(func(g *graph.Graph) {
		require.NoError(t, m.Loss(g, 2, true))
		for _, p := range g.Params {
			n += p.Shape.Size()
		}
	})
	require.NoError(t, err)
	return n
}

// Published sizes: GPT-2 (llm.c), torchvision's resnet18, He et al. 2015 table 6 (0.27 M), Llama 2 7B.
func TestParameterCounts(t *testing.T) {
	t.Parallel()
	image := tensor.Shape{1, 28, 28}
	for _, c := range []struct {
		cfg  models.Config
		want int
	}{
		{models.Config{Name: "gpt", Layers: 12, Heads: 12, Width: 768, Context: 1024, Vocab: 50257}, 124_439_808},
		{models.Config{Name: "gpt", Layers: 4, Heads: 4, Width: 128, Context: 64, Vocab: 65}, 809_856},
		{models.Config{Name: "llama", Layers: 32, Heads: 32, Width: 4096, Hidden: 11008, Context: 2048, Vocab: 32000}, 6_738_415_616},
		{models.Config{Name: "resnet", Layers: 18, Classes: 1000, Input: tensor.Shape{3, 224, 224}}, 11_689_512},
		{models.Config{Name: "resnet", Layers: 34, Classes: 1000, Input: tensor.Shape{3, 224, 224}}, 21_797_672},
		{models.Config{Name: "resnet", Layers: 20, Classes: 10, Input: tensor.Shape{3, 32, 32}}, 269_722},
		{models.Config{Name: "convnet", Classes: 10, Input: image}, 1_199_882},
		{models.Config{Name: "mlp", Sizes: []int{512, 512}, Classes: 10, Input: image}, 669_706},
	} {
		require.Equal(t, c.want, parameters(t, c.cfg), "%s of %d layers", c.cfg.Name, c.cfg.Layers)
	}
}

func TestBadConfig(t *testing.T) {
	t.Parallel()
	gpt := models.Config{Name: "gpt", Layers: 2, Heads: 4, Width: 32, Context: 8, Vocab: 10}
	llama := models.Config{Name: "llama", Layers: 1, Heads: 4, KVHeads: 2, Width: 32, Context: 8, Vocab: 10}
	conv := models.Config{Name: "convnet", Classes: 10, Input: tensor.Shape{1, 28, 28}}
	for _, c := range []struct {
		base   models.Config
		change func(*models.Config)
		want   string
	}{
		{gpt, func(c *models.Config) { c.Name = "gtp" }, `model.name: found "gtp", expected one of convnet, gpt, llama, mlp, resnet`},
		{gpt, func(c *models.Config) { c.Heads = 5 }, "model.heads: found 5, expected a divisor of width 32"},
		{gpt, func(c *models.Config) { c.Heads = 0 }, "model.heads: found 0, expected at least 1"},
		{gpt, func(c *models.Config) { c.Layers = -1 }, "model.layers: found -1"},
		{gpt, func(c *models.Config) { c.Context = 0 }, "model.context: found 0"},
		{gpt, func(c *models.Config) { c.Vocab = 0 }, "model.vocab: found 0"},
		{gpt, func(c *models.Config) { c.Dropout = 1 }, "model.dropout: found 1, expected a probability"},
		{gpt, func(c *models.Config) { c.KVHeads = 2 }, "model.kv_heads: found 2, expected no such key for gpt"},
		{llama, func(c *models.Config) { c.KVHeads = 3 }, "model.kv_heads: found 3, expected a divisor of heads 4"},
		{llama, func(c *models.Config) { c.Width = 36; c.Heads = 4 }, "model.width: found 36, expected an even number of channels per head"},
		{llama, func(c *models.Config) { c.RopeBase = 0.5 }, "model.rope_base: found 0.5"},
		{conv, func(c *models.Config) { c.Input = tensor.Shape{1, 4, 28} }, "model.input: found (1,4,28), expected an image (C,H,W) of at least 6×6"},
		{conv, func(c *models.Config) { c.Input = nil }, "model.input: found (), expected the shape of one sample"},
		{conv, func(c *models.Config) { c.Classes = 1 }, "model.classes: found 1"},
		{conv, func(c *models.Config) { c.Channels = []int{8, 0} }, "model.channels: found 0"},
		{conv, func(c *models.Config) { c.Name = "resnet"; c.Layers = 19 }, "model.layers: found 19, expected 18 or 34"},
	} {
		cfg := c.base
		c.change(&cfg)
		_, err := models.New(cfg)
		require.ErrorContains(t, err, c.want)
	}
	gpt.Vocab = 0
	require.NoError(t, gpt.Validate(), "the data set fills vocab in later")
}

// What Weights lists covers every parameter exactly once.
func TestWeightsCoverParameters(t *testing.T) {
	t.Parallel()
	m, err := models.New(models.Config{Name: "llama", Layers: 1, Heads: 4, KVHeads: 2, Width: 32, Context: 8, Vocab: 10})
	require.NoError(t, err)
	g, err := graph.Build(func(g *graph.Graph) { require.NoError(t, m.Decode(g, 1, 8)) })
	require.NoError(t, err)
	rows := map[string]int{}
	var names []string
	for _, w := range m.Weights(g) {
		require.Equal(t, rows[w.Param], w.From, "%s follows the part before it", w.Name)
		rows[w.Param] = w.To
		names = append(names, w.Name)
	}
	require.Len(t, rows, len(g.Params))
	for _, p := range g.Params {
		require.Equal(t, p.Shape[0], rows[p.Node.Name], p.Node.Name)
	}
	require.Contains(t, names, "model.layers.0.self_attn.k_proj.weight")
	require.Contains(t, names, "model.layers.0.mlp.up_proj.weight")
}

// The model section of every recipe is valid.
func TestConfigsAreValid(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../configs/*.yaml")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		raw, err := os.ReadFile(file)
		require.NoError(t, err)
		var doc struct {
			Model models.Config `yaml:"model"`
		}
		require.NoError(t, yaml.Unmarshal(raw, &doc), file)
		require.NoError(t, doc.Model.Validate(), file)
	}
}

func TestModesDeclareTheirInputs(t *testing.T) {
	t.Parallel()
	m, err := models.New(models.Config{Name: "gpt", Layers: 2, Heads: 2, Width: 16, Context: 8, Vocab: 10, Dropout: 0.1})
	require.NoError(t, err)
	inputs := func(fn func(g *graph.Graph) error) (names []string, g *graph.Graph) {
		g, err := graph.Build(func(g *graph.Graph) { require.NoError(t, fn(g)) })
		require.NoError(t, err)
		for _, v := range g.Inputs {
			names = append(names, v.Node.Name+" "+v.Type.String())
		}
		return names, g
	}
	names, _ := inputs(func(g *graph.Graph) error { return m.Loss(g, 3, true) })
	require.Equal(t, []string{"tokens i32(3,8)", "targets i32(3,8)", "rng i64(3)"}, names)
	names, _ = inputs(func(g *graph.Graph) error { return m.Loss(g, 3, false) })
	require.Equal(t, []string{"tokens i32(3,8)", "targets i32(3,8)"}, names)
	names, g := inputs(func(g *graph.Graph) error { return m.Forward(g, 2, 5) })
	require.Equal(t, []string{"tokens i32(2,5)"}, names)
	require.Equal(t, tensor.Shape{2, 5, 10}, g.Find(models.Logits).Shape)
	names, g = inputs(func(g *graph.Graph) error { return m.Decode(g, 2, 7) })
	require.Equal(t, []string{"tokens i32(2,1)", "pos i32()"}, names)
	require.Equal(t, tensor.Shape{2, 1, 10}, g.Find(models.Logits).Shape)

	mlp, err := models.New(models.Config{Name: "mlp", Sizes: []int{4}, Classes: 2, Input: tensor.Shape{3}})
	require.NoError(t, err)
	require.ErrorContains(t, mlp.Decode(g, 1, 1), "cannot generate")
	require.ErrorContains(t, m.Forward(g, 1, 9), "at most 8 tokens")
}

// Decoding token by token through the cache gives the logits of the whole sequence at once.
func TestDecodeEqualsForward(t *testing.T) {
	t.Parallel()
	const batch, seq = 2, 7
	for _, cfg := range []models.Config{
		{Name: "gpt", Layers: 2, Heads: 2, Width: 16, Context: 9, Vocab: 11, Dropout: 0.5},
		{Name: "llama", Layers: 2, Heads: 4, KVHeads: 2, Width: 16, Context: 9, Vocab: 11},
		{Name: "llama", Layers: 1, Heads: 2, Width: 16, Context: 9, Vocab: 11, RopeInterleaved: true, Tied: true},
	} {
		m, err := models.New(cfg)
		require.NoError(t, err)
		c := &golden.Case{Model: m.Config, Batch: batch, Seed: 3, Distinct: 1}
		whole, err := graph.Build(func(g *graph.Graph) { require.NoError(t, m.Forward(g, batch, seq)) })
		require.NoError(t, err)
		step, err := graph.Build(func(g *graph.Graph) { require.NoError(t, m.Decode(g, batch, seq)) })
		require.NoError(t, err)
		weights, err := c.Weights(m, whole)
		require.NoError(t, err)
		ids := tensor.Data[int32](c.Inputs(0)[models.Tokens]) // (batch, context)
		feed := func(g *graph.Graph, from, n int) map[*graph.Value]*tensor.Tensor {
			feeds := map[*graph.Value]*tensor.Tensor{}
			for _, p := range g.Params {
				feeds[p] = weights[p.Node.Name]
			}
			tokens := tensor.New(tensor.I32, batch, n)
			for b := range batch {
				copy(tensor.Data[int32](tokens)[b*n:(b+1)*n], ids[b*m.Context+from:])
			}
			feeds[g.Inputs[0]] = tokens
			return feeds
		}
		vals, err := kernels.Eval(whole, feed(whole, 0, seq), false)
		require.NoError(t, err)
		want := vals[whole.Find(models.Logits)].Float64s() // (batch, seq, vocab)
		caches := map[*graph.Value]*tensor.Tensor{}
		for pos := range seq {
			feeds := feed(step, pos, 1)
			feeds[step.Inputs[1]] = tensor.Of(tensor.Shape{}, int32(pos))
			for _, s := range step.States {
				if caches[s] == nil {
					caches[s] = tensor.New(s.DType, s.Shape...)
				}
				feeds[s] = caches[s]
			}
			vals, err := kernels.Eval(step, feeds, false)
			require.NoError(t, err)
			got := vals[step.Find(models.Logits)].Float64s() // (batch, 1, vocab)
			for b := range batch {
				at := (b*seq + pos) * m.Vocab
				require.InDeltaSlice(t, want[at:at+m.Vocab], got[b*m.Vocab:(b+1)*m.Vocab], 1e-5, "%s, sequence %d, position %d", cfg.Name, b, pos)
			}
			for _, s := range step.States {
				caches[s] = vals[s]
			}
		}
	}
}

func ExampleNew() {
	m, err := models.New(models.Config{Name: "gpt", Layers: 4, Heads: 4, Width: 128, Context: 64, Vocab: 65})
	if err != nil {
		fmt.Println(err)
		return
	}
	g, err := graph.Build(func(g *graph.Graph) {
		if err := m.Loss(g, 12, true); err != nil {
			fmt.Println(err)
		}
	})
	fmt.Println(len(g.Params), g.Params[2].Node.Name, g.Find(models.Loss).Type, err)
	// Output: 52 transformer.h.0.ln_1.weight f32() <nil>
}
