package quant_test

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"ringo/data"
	"ringo/export"
	"ringo/export/quant"
	"ringo/export/safetensors"
	"ringo/internal/exporttest"
	"ringo/runtime/graph"
	"ringo/runtime/tensor"
	"ringo/train"
	"ringo/train/config"
)

// qatConfigs are the small networks that train with roundings: one without batch norm, one with it and with shortcuts.
var qatConfigs = map[string]struct {
	layers int
	yaml   string
}{
	"convnet": {4, `
model: {name: convnet, channels: [4, 6], hidden: 16}
data: {source: synthetic, shape: [1, 12, 12], classes: 4, samples: 48, sampling: epoch}
train: {steps: 60, batch: 16, lanes: 2, seed: 3, qat: true}
optim: {name: adamw, lr: 5e-3, schedule: constant}
`},
	"resnet": {8, `
model: {name: resnet, layers: 8, width: 4}
data: {source: synthetic, shape: [3, 12, 12], classes: 4, samples: 48, sampling: epoch}
train: {steps: 60, batch: 16, lanes: 2, seed: 3, qat: true}
optim: {name: adamw, lr: 5e-3, schedule: constant}
`},
}

// TestQAT: a model trained with roundings learns, comes back from its checkpoint, and is exported with the ranges it was
// trained with, its batch norms folded: integers then give what training's own evaluation said.
func TestQAT(t *testing.T) {
	t.Parallel()
	for name, c := range qatConfigs {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg, err := config.Parse("qat.yaml", []byte(c.yaml), nil, nil)
			require.NoError(t, err)
			dir := t.TempDir()
			want := trained(t, cfg, dir)
			learn, valid, err := data.Open(cfg.Data)
			require.NoError(t, err)
			src, q := integers(t, dir, c.layers, learn, func(f export.TensorFile) export.TensorFile { return f })
			got, err := quant.Evaluate(cpu(t), q.Inference(), valid, 16, 0, nil)
			require.NoError(t, err)
			require.Less(t, math.Abs(want.Loss-got.Loss), 0.01*max(1, want.Loss))
			roundedOnce(t, src)
			sameRounding(t, src, q)
			sameLogits(t, src, q)
			src, q = integers(t, dir, c.layers, learn, func(f export.TensorFile) export.TensorFile { return turned{f} })
			sameRounding(t, src, q)
			sameLogits(t, src, q)
		})
	}
}

// trained trains with roundings, saves the checkpoint and returns training's own evaluation.
func trained(t *testing.T, cfg *config.Config, dir string) train.Score {
	t.Helper()
	tr, err := train.New(cfg, train.Options{Out: dir, Device: "cpu"})
	require.NoError(t, err)
	first, last := 0.0, 0.0
	for i := range cfg.Train.Steps {
		loss, err := tr.Step()
		require.NoError(t, err)
		if i == 0 {
			first = loss
		}
		last = loss
	}
	require.Less(t, last, 0.8*first)
	want, err := tr.Evaluate(0)
	require.NoError(t, err)
	_, err = tr.Save()
	require.NoError(t, err)
	require.NoError(t, tr.Close())
	return want
}

// integers opens what was trained, its tensors as see shows them, and quantizes it with the trained ranges. The float
// inference form has neither roundings nor batch norms.
func integers(t *testing.T, dir string, layers int, learn data.Dataset, see func(export.TensorFile) export.TensorFile) (*export.Source, *quant.Model) {
	t.Helper()
	saved, err := train.OpenSaved(dir)
	require.NoError(t, err)
	require.True(t, saved.Model.QAT)
	file, err := safetensors.Open(saved.Weights)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, file.Close()) })
	src, err := export.NewSource(saved.Model, see(file))
	require.NoError(t, err)
	inf, err := src.Inference()
	require.NoError(t, err)
	g, err := inf.Build(1, 1)
	require.NoError(t, err)
	for _, n := range g.Nodes {
		require.NotContains(t, []string{"fake_quantize", "batchnorm_infer"}, n.Op.Name)
	}
	o := options()
	o.Ranges, err = quant.Trained(src.Model, src)
	require.NoError(t, err)
	require.Len(t, o.Ranges, layers)
	q, err := quant.Quantize(cpu(t), inf, learn, o)
	require.NoError(t, err)
	require.Len(t, q.Recipe.Layers, layers)
	for _, l := range q.Recipe.Layers {
		require.Equal(t, "trained", l.In.Method)
		require.Equal(t, o.Ranges[l.Weight].Hi, l.In.Hi)
	}
	return src, q
}

// roundedOnce: what a layer reads rounded nobody reads otherwise, as in the export, where shortcuts take the 8 bits too.
func roundedOnce(t *testing.T, src *export.Source) {
	t.Helper()
	g, err := export.Forward(src.Model, src).Build(1, 1)
	require.NoError(t, err)
	readers := map[*graph.Value]int{}
	for _, n := range g.Nodes {
		for _, v := range n.In {
			readers[v]++
		}
	}
	for _, n := range g.Nodes {
		if n.Op.Name == "fake_quantize" && n.In[0].Node.Op.Name != "param" {
			require.Equal(t, 1, readers[n.In[0]], n.Name)
		}
	}
}

// turned shows a file whose batch norms have negative gains in every other channel.
type turned struct{ export.TensorFile }

func (f turned) ReadInto(name string, dst []byte) error {
	err := f.TensorFile.ReadInto(name, dst)
	if strings.Contains(name, "bn") && strings.HasSuffix(name, ".weight") {
		for i, gains := 0, tensor.View[float32](dst); i < len(gains); i += 2 {
			gains[i] = -gains[i]
		}
	}
	return err
}

// sameRounding: the int8 weights are those that training rounded to. There a channel of w rounds to multiples of
// max|w|/127, before batch norm; here the folded channel w·s to multiples of max|w·s|/127: the same multiples, up to the
// sign of s, but for quotients that lie on the edge of two by the last bit of a float.
func sameRounding(t *testing.T, src *export.Source, q *quant.Model) {
	t.Helper()
	for _, l := range q.Recipe.Layers {
		rounded := q.Tensors[l.Weight+"_int8"]
		w := tensor.New(tensor.F32, rounded.Shape...)
		require.NoError(t, src.Read(l.Weight, w.Bytes()))
		outs := rounded.Shape[0]
		per, other := l.Size/outs, 0
		for o := range outs {
			row, most := tensor.Data[float32](w)[o*per:(o+1)*per], 0.0
			for _, v := range row {
				most = max(most, math.Abs(float64(v)))
			}
			for i, v := range row {
				want := math.RoundToEven(math.Abs(float64(v)) / most * 127)
				if math.Abs(float64(tensor.Data[int8](rounded)[o*per+i])) != want {
					other++
				}
			}
		}
		require.LessOrEqual(t, other, l.Size/1000, l.Weight)
	}
}

// sameLogits: the integer network computes what training's graph does in evaluation, where rounded convolutions stand
// before batch norms. Values on the edge of two steps fall to the other one, as float and integer sums differ in the last
// bits; and the export rounds results of convolutions that are added to shortcuts, as training does not: layer by layer
// that moves some more.
func sameLogits(t *testing.T, src *export.Source, q *quant.Model) {
	t.Helper()
	in, want := exporttest.Run(t, src.Model, src, 16, 1)
	for _, c := range []struct {
		sums bool // results of convolutions stay float before they are added
		most float64
	}{{false, 0.04}, {true, 0.02}} {
		exact := *q
		exact.Recipe = &quant.Recipe{Format: q.Recipe.Format, Activation: q.Recipe.Activation, Layers: slices.Clone(q.Recipe.Layers)}
		for i := range exact.Recipe.Layers {
			if c.sums {
				exact.Recipe.Layers[i].Out = nil
			}
		}
		got := logits(t, exact.Inference(), in, 16, 1).Float64s()
		var wrong, all float64
		for i, v := range want.Float64s() {
			wrong, all = wrong+(got[i]-v)*(got[i]-v), all+v*v
		}
		require.Less(t, math.Sqrt(wrong/all), c.most)
	}
}
