package quant_test

import (
	"encoding/json"
	"fmt"
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

func TestReal(t *testing.T) {
	run := os.Getenv("RINGO_INT8_RUN")
	if run == "" {
		t.Skip("measures a trained run: set RINGO_INT8_RUN to its folder")
	}
	inf, _, learn, valid := opened(t, run)
	b, err := backend.Open("cpu", backend.Options{Threads: 1})
	require.NoError(t, err)
	limit, rows := 0, 64
	if inf.MaxSeq > 0 {
		limit, rows = 24, 16
	}
	float, err := quant.Evaluate(b, inf, valid, rows, limit, nil)
	require.NoError(t, err)
	fmt.Printf("float %+v\n", float)
	o := quant.Default()
	o.GPTQ = os.Getenv("GPTQ") != ""
	o.Dynamic = os.Getenv("DYNAMIC") != ""
	if v := os.Getenv("METHOD"); v != "" {
		o.Method = v
	}
	o.Smooth = os.Getenv("NOSMOOTH") == ""
	if inf.MaxSeq > 0 {
		o.Rows, o.Batches = 8, 8
	}
	start := time.Now()
	m, err := quant.Quantize(b, inf, learn, o)
	require.NoError(t, err)
	fmt.Println("quantized in", time.Since(start))
	for _, l := range m.Recipe.Layers {
		fmt.Printf("%-40s %-8s in %8.3f %8.3f %-10s error %.2e\n", l.Weight, l.Op, l.In.Lo, l.In.Hi, l.In.Method, l.Error)
	}
	dir := t.TempDir()
	for name, x := range map[string]*export.Inference{"float": inf, "int8": m.Inference()} {
		f, err := onnx.Encode(onnx.Model{Name: "m", Inference: x})
		require.NoError(t, err)
		path := filepath.Join(dir, name+".onnx")
		require.NoError(t, f.Save(export.OS{}, path))
		st, err := os.Stat(path)
		require.NoError(t, err)
		fmt.Printf("ONNX Runtime %s, %d bytes: %+v\n", name, st.Size(), theirs(t, path, valid, rows, limit))
	}
	if inf.MaxSeq > 0 {
		q8, err := quant.WeightOnly(inf)
		require.NoError(t, err)
		s, err := quant.Evaluate(b, q8, valid, rows, limit, nil)
		require.NoError(t, err)
		fmt.Printf("q8_0 perplexity %.5f, %+.4f %%\n", s.Perplexity, 100*(s.Perplexity/float.Perplexity-1))
	}
	got, err := quant.Evaluate(b, m.Inference(), valid, rows, limit, nil)
	require.NoError(t, err)
	fmt.Printf("int8  %+v\n", got)
	fmt.Printf("drop %.3f points, perplexity %+.3f %%, speed %.2f\n", 100*(float.Accuracy-got.Accuracy), 100*(got.Perplexity/float.Perplexity-1), float64(float.Latency)/float64(got.Latency))
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
