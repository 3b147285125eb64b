package quant_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"ringo/data"
	"ringo/export"
	"ringo/export/quant"
	"ringo/export/safetensors"
	"ringo/train"
	"ringo/train/config"
)

const qatConfig = `
model: {name: convnet, channels: [4, 6], hidden: 16}
data: {source: synthetic, shape: [1, 12, 12], classes: 4, samples: 48, sampling: epoch}
train: {steps: 60, batch: 16, lanes: 2, seed: 3, qat: true}
optim: {name: adamw, lr: 5e-3, schedule: constant}
`

// TestQAT: a model trained with roundings learns, comes back from its checkpoint, and is exported with the ranges it was
// trained with: integers then give what training's own evaluation said.
func TestQAT(t *testing.T) {
	t.Parallel()
	cfg, err := config.Parse("qat.yaml", []byte(qatConfig), nil, nil)
	require.NoError(t, err)
	dir := t.TempDir()
	tr, err := train.New(cfg, train.Options{Out: dir, Device: "cpu"})
	require.NoError(t, err)
	first, last := 0.0, 0.0
	for i := range 60 {
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

	saved, err := train.OpenSaved(dir)
	require.NoError(t, err)
	require.True(t, saved.Model.QAT)
	file, err := safetensors.Open(saved.Weights)
	require.NoError(t, err)
	defer file.Close()
	src, err := export.NewSource(saved.Model, file)
	require.NoError(t, err)
	ranges, err := quant.Trained(saved.Model, src)
	require.NoError(t, err)
	require.Len(t, ranges, 4)
	inf, err := src.Inference()
	require.NoError(t, err)
	g, err := inf.Build(1, 1)
	require.NoError(t, err)
	for _, n := range g.Nodes {
		require.NotEqual(t, "fake_quantize", n.Op.Name)
	}
	learn, valid, err := data.Open(cfg.Data)
	require.NoError(t, err)
	o := options()
	o.Ranges = ranges
	q, err := quant.Quantize(cpu(t), inf, learn, o)
	require.NoError(t, err)
	for _, l := range q.Recipe.Layers {
		require.Equal(t, "trained", l.In.Method)
		require.Equal(t, ranges[l.Weight].Hi, l.In.Hi)
	}
	got, err := quant.Evaluate(cpu(t), q.Inference(), valid, 16, 0, nil)
	require.NoError(t, err)
	require.Less(t, math.Abs(want.Loss-got.Loss), 0.01*max(1, want.Loss))
}
