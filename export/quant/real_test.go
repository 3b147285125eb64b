package quant_test

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"ringo/data"
	"ringo/export"
	"ringo/export/onnx"
	"ringo/export/quant"
	"ringo/export/safetensors"
	"ringo/internal/files"
	"ringo/internal/ort"
	_ "ringo/kernels"
	"ringo/models"
	"ringo/runtime/backend"
	"ringo/runtime/tensor"
	"ringo/train/config"
)

// opened is a trained model from a run's folder.
func opened(t testing.TB, run string) (*export.Inference, *config.Config, data.Dataset, data.Dataset) {
	dir := filepath.Join(run, "checkpoints", "latest")
	raw, err := os.ReadFile(filepath.Join(dir, "state.json"))
	require.NoError(t, err)
	var state struct {
		Config string
		Model  models.Config
	}
	require.NoError(t, json.Unmarshal(raw, &state))
	cfg, err := config.Parse("state.json", []byte(state.Config), nil, nil)
	require.NoError(t, err)
	m, err := models.New(state.Model)
	require.NoError(t, err)
	file, err := safetensors.Open(filepath.Join(dir, "model.safetensors"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = file.Close() })
	src, err := export.NewSource(m, file)
	require.NoError(t, err)
	inf, err := src.Inference()
	require.NoError(t, err)
	learn, valid, err := data.Open(cfg.Data)
	require.NoError(t, err)
	return inf, cfg, learn, valid
}

// wanted are the bounds that a measured run is held to: points of accuracy or percent of perplexity lost, by W8A8 and by
// Q8_0 weights alone, and how many times smaller the ONNX file and how many times faster a batch is.
type wanted struct{ drop, weights, smaller, faster float64 }

var bounds = map[string]wanted{
	"convnet": {drop: 0.1, smaller: 3.9, faster: 2},
	"resnet":  {drop: 0.25},
	"mlp":     {drop: 0.25},
	"gpt":     {drop: 0.75, weights: 0.05, faster: 2},
}

// TestReal measures a trained run on one thread, beside ONNX Runtime. It prints what scripts/int8.sh puts into its table.
func TestReal(t *testing.T) {
	run := os.Getenv("RINGO_INT8_RUN")
	if run == "" {
		t.Skip("measures a trained run: set RINGO_INT8_RUN to its folder")
	}
	inf, cfg, learn, valid := opened(t, run)
	want := bounds[cfg.Model.Name]
	b, err := backend.Open("cpu", backend.Options{Threads: 1})
	require.NoError(t, err)
	limit, rows := 0, 64
	o := quant.Default()
	if inf.MaxSeq > 0 {
		limit, rows = 24, 16
		o.Rows, o.Batches = 8, 8
	}
	score := func(x *export.Inference) quant.Score {
		s, err := quant.Evaluate(b, x, valid, rows, limit, nil)
		require.NoError(t, err)
		return s
	}
	m, err := quant.Quantize(b, inf, learn, o)
	require.NoError(t, err)
	sizes, peers := map[string]int64{}, map[string]quant.Score{}
	for name, x := range map[string]*export.Inference{"float": inf, "int8": m.Inference()} {
		path := filepath.Join(t.TempDir(), name+".onnx")
		f, err := onnx.Encode(onnx.Model{Name: "m", Inference: x})
		require.NoError(t, err)
		require.NoError(t, f.Save(files.OS{}, path))
		st, err := os.Stat(path)
		require.NoError(t, err)
		sizes[name], peers[name] = st.Size(), theirs(t, path, valid, rows, limit)
	}
	float, int8 := score(inf), score(m.Inference())
	smaller, faster := float64(sizes["float"])/float64(sizes["int8"]), float64(float.Latency)/float64(int8.Latency)
	lost := func(s quant.Score) float64 { return 100 * (float.Accuracy - s.Accuracy) }
	unit := "points"
	if inf.MaxSeq > 0 {
		lost = func(s quant.Score) float64 { return 100 * (s.Perplexity/float.Perplexity - 1) }
		unit = "% of perplexity"
	}
	t.Logf("measured: lost %.3f %s here, %.3f in ONNX Runtime", lost(int8), unit, lost(peers["int8"]))
	t.Logf("measured: file %d → %d bytes, %.2f times smaller", sizes["float"], sizes["int8"], smaller)
	t.Logf("measured: a batch of %d in %v, int8 %v, %.1f times faster; ONNX Runtime %v and %v", rows, float.Latency, int8.Latency, faster, peers["float"].Latency, peers["int8"].Latency)
	require.LessOrEqual(t, lost(int8), want.drop)
	require.LessOrEqual(t, lost(peers["int8"]), want.drop)
	require.GreaterOrEqual(t, smaller, want.smaller)
	if want.weights > 0 {
		q8, err := quant.WeightOnly(inf)
		require.NoError(t, err)
		alone := lost(score(q8))
		t.Logf("measured: weights alone in Q8_0 lose %.4f %s", alone, unit)
		require.LessOrEqual(t, alone, want.weights)
	}
	if want.faster > 0 {
		require.GreaterOrEqual(t, faster, want.faster)
		require.LessOrEqual(t, int8.Latency, peers["int8"].Latency)
	}
}

// theirs scores a model in ONNX Runtime on one thread.
func theirs(t *testing.T, path string, ds data.Dataset, rows, limit int) quant.Score {
	t.Helper()
	session := ort.Open(t, path, ort.Options{Threads: 1})
	batches, err := data.NewBatches(ds, rows)
	require.NoError(t, err)
	n := batches.Len()
	if limit == 0 {
		limit = n
	}
	score, hits, loss := quant.Score{Latency: math.MaxInt64, Batch: rows}, 0, 0.0
	for i := range min(limit, n) {
		fields, valid, err := batches.Read(i * n / limit)
		require.NoError(t, err)
		in := map[string]*tensor.Tensor{}
		for k, f := range batches.Fields()[:len(fields)-1] {
			in[f.Name], err = tensor.FromBytes(f.DType, f.Shape, fields[k])
			require.NoError(t, err)
		}
		start := time.Now()
		out, err := session.Run(in)
		require.NoError(t, err)
		score.Latency = min(score.Latency, time.Since(start))
		y := out[models.Logits]
		classes := y.Shape[len(y.Shape)-1]
		targets := tensor.View[int32](fields[len(fields)-1])
		for r := range valid * len(targets) / rows {
			row := tensor.Data[float32](y)[r*classes : (r+1)*classes]
			best, sum := 0, 0.0
			for c, v := range row {
				if v > row[best] {
					best = c
				}
				sum += math.Exp(float64(v))
			}
			if best == int(targets[r]) {
				hits++
			}
			loss += math.Log(sum) - float64(row[targets[r]])
			score.Samples++
		}
	}
	score.Loss = loss / float64(score.Samples)
	score.Accuracy, score.Perplexity = float64(hits)/float64(score.Samples), math.Exp(score.Loss)
	return score
}
