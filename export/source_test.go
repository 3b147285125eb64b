package export_test

import (
	"bytes"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"ringo/export"
	"ringo/export/safetensors"
	"ringo/internal/exporttest"
	"ringo/models"
	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

// file writes tensors as a safetensors file and opens it.
func file(t *testing.T, items ...safetensors.Item) *safetensors.File {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, safetensors.Write(&b, nil, items))
	f, err := safetensors.New(bytes.NewReader(b.Bytes()), int64(b.Len()))
	require.NoError(t, err)
	return f
}

func items() (list []safetensors.Item) {
	for name, shape := range map[string][]int{"0.weight": {3, 4}, "0.bias": {3}, "2.weight": {2, 3}, "2.bias": {2}} {
		list = append(list, safetensors.FromTensor(name, tensor.New(tensor.F32, shape...)))
	}
	return list
}

func tinyMLP(t *testing.T) *models.Model {
	t.Helper()
	m, err := models.New(models.Config{Name: "mlp", Input: []int{4}, Classes: 2, Sizes: []int{3}})
	require.NoError(t, err)
	return m
}

func TestSourceOfAnotherModel(t *testing.T) {
	t.Parallel()
	m := tinyMLP(t)
	s, err := export.NewSource(m, file(t, items()...))
	require.NoError(t, err)
	require.Equal(t, 23, s.Parameters())

	more := append(items(), safetensors.FromTensor("extra", tensor.New(tensor.F32, 5)))
	_, err = export.NewSource(m, file(t, more...))
	require.EqualError(t, err, `weights of another model: a tensor "extra" f32(5) that mlp lacks`)
	_, err = export.NewSource(m, file(t))
	require.EqualError(t, err, `weights of another model: no tensor "0.weight", which mlp needs as f32(3,4)`)
	half := items()
	for i := range half {
		half[i].DType, half[i].Data = tensor.F16, half[i].Data[:len(half[i].Data)/2]
	}
	_, err = export.NewSource(m, file(t, half...))
	require.EqualError(t, err, `weights of another model: tensor "0.weight" is f16(3,4), mlp needs f32(3,4)`)
}

func TestWeightsThatAreNoNumbers(t *testing.T) {
	t.Parallel()
	for _, v := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		list := items()
		for _, x := range list {
			if x.Name == "2.weight" {
				tensor.View[float32](x.Data)[4] = float32(v)
			}
		}
		s, err := export.NewSource(tinyMLP(t), file(t, list...))
		require.NoError(t, err)
		require.NoError(t, s.Read("0.weight", make([]byte, 48)))
		var bad *export.NotFinite
		require.ErrorAs(t, s.Read("2.weight", make([]byte, 24)), &bad)
		require.Equal(t, [2]any{"2.weight", 4}, [2]any{bad.Tensor, bad.Index})
		require.ErrorContains(t, bad, "a model with such weights computes nothing of use")
	}
}

// TestPackedParameters reads queries, keys and values as the one matrix that the graph has.
func TestPackedParameters(t *testing.T) {
	t.Parallel()
	cfg := exporttest.Configs["llama"]
	_, w := exporttest.Random(t, cfg, 5)
	s := exporttest.Source(t, cfg, 5)
	for name, x := range w.(export.Tensors) {
		got := make([]byte, len(x.Bytes()))
		require.NoError(t, s.Read(name, got))
		require.Equal(t, x.Bytes(), got, name)
		require.ErrorContains(t, s.Read(name, got[1:]), "bytes, expected")
	}
	require.ErrorContains(t, s.Read("absent", nil), `no parameter "absent"`)
	m := s.Metadata()
	require.Equal(t, [2]string{"llama", "12"}, [2]string{m["ringo.model"], m["ringo.step"]})
	require.Contains(t, m["ringo.config"], `"KVHeads":2`)
}

// norms counts the batch norms of a graph.
func norms(g *graph.Graph) (n int) {
	for _, x := range g.Nodes {
		if x.Op.Name == "batchnorm_infer" {
			n++
		}
	}
	return n
}

// TestFoldLeavesWhatItMust folds a norm behind a convolution with a bias, but not one behind a sum, nor one whose
// convolution somebody else reads.
func TestFoldLeavesWhatItMust(t *testing.T) {
	t.Parallel()
	w := export.Tensors{}
	inf := &export.Inference{Weights: w, Build: func(batch, _ int) (*graph.Graph, error) {
		return graph.Build(func(g *graph.Graph) {
			leaf := func(name string, shape ...int) *graph.Value {
				return g.Param(graph.Leaf{Name: name, Type: graph.Type{DType: tensor.F32, Shape: shape}})
			}
			norm := func(name string, x *graph.Value) *graph.Value {
				c := x.Shape[1]
				return g.BatchNorm(x, leaf(name+".gain", c), leaf(name+".bias", c), leaf(name+".mean", c), leaf(name+".var", c), 1e-5, 0, false)
			}
			x := g.Input("x", tensor.F32, batch, 2, 4, 4)
			a := g.Conv2D(x, leaf("a", 3, 2, 3, 3), leaf("a.b", 3), graph.Conv2D{})
			y := norm("na", a)        // folds
			y = norm("ny", g.Relu(y)) // behind relu
			b := g.Conv2D(x, leaf("b", 3, 2, 3, 3), nil, graph.Conv2D{})
			g.Output("z", g.Add(y, g.Add(norm("nb", b), b))) // b is read twice
		})
	}}
	before, err := inf.Build(2, 0)
	require.NoError(t, err)
	for i, v := range before.Params {
		x := tensor.New(tensor.F32, v.Shape...)
		p := tensor.NewPhilox(4, uint64(i))
		p.FillUniform(tensor.Data[float32](x), 0.5, 1.5)
		w[v.Node.Name] = x
	}
	folded, err := export.Fold(inf)
	require.NoError(t, err)
	after, err := folded.Build(2, 0)
	require.NoError(t, err)
	require.Equal(t, [2]int{3, 2}, [2]int{norms(before), norms(after)})
	require.Len(t, after.Params, len(before.Params)-4)
	x := tensor.New(tensor.F32, 2, 2, 4, 4)
	p := tensor.NewPhilox(9, 9)
	p.FillNormal(tensor.Data[float32](x), 0, 1)
	in := map[string]*tensor.Tensor{"x": x}
	want, got := exporttest.Evaluate(t, before, w, in, "z"), exporttest.Evaluate(t, after, folded.Weights, in, "z")
	require.InDeltaSlice(t, want.Float64s(), got.Float64s(), 1e-4)
}
