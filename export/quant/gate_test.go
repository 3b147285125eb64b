package quant_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"ringo/export"
	"ringo/export/quant"
	"ringo/export/safetensors"
	"ringo/internal/exporttest"
	"ringo/internal/files"
	"ringo/models"
	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

// broken is an inference form whose first layer's weights spoil int8: one input channel dwarfs the rest.
func broken(t *testing.T, inf *export.Inference, weight string, shape tensor.Shape) *export.Inference {
	t.Helper()
	w := tensor.New(tensor.F32, shape...)
	require.NoError(t, inf.Weights.Read(weight, w.Bytes()))
	for i := range tensor.Data[float32](w) {
		if i%shape[1] == 0 {
			tensor.Data[float32](w)[i] *= 1000
		}
	}
	out := *inf
	out.Weights = over{inf.Weights, export.Tensors{weight: w}}
	return &out
}

type over struct {
	export.Weights
	t export.Tensors
}

func (o over) Read(name string, dst []byte) error {
	if o.t[name] != nil {
		return o.t.Read(name, dst)
	}
	return o.Weights.Read(name, dst)
}

// TestGate: what loses too much is refused, with a report; keeping the worst layers in float lets it pass.
func TestGate(t *testing.T) {
	t.Parallel()
	_, inf, ds := random(t, "mlp", 200)
	m, r, err := quant.Checked(cpu(t), inf, ds, ds, options(), quant.Gate{MaxDrop: 5, Rows: 16})
	require.NoError(t, err)
	require.True(t, r.Passed)
	require.Greater(t, float64(r.FloatBytes)/float64(r.Int8Bytes), 2.0)
	require.Equal(t, r.Float.Samples, 200)
	require.Contains(t, r.Table(), "times smaller")
	require.NotNil(t, m)

	bad := broken(t, inf, "0.weight", tensor.Shape{16, 20})
	o := options()
	o.Method = "minmax"
	_, r, err = quant.Checked(cpu(t), bad, ds, ds, o, quant.Gate{MaxDrop: -100, Rows: 16})
	var refused *quant.Refused
	require.ErrorAs(t, err, &refused)
	require.ErrorContains(t, err, "nothing was written")
	require.Same(t, r, refused.Report)

	m, r, err = quant.Checked(cpu(t), bad, ds, ds, o, quant.Gate{MaxDrop: -101, KeepAuto: true, Rows: 16})
	require.Error(t, err, "not even float passes a gate below −100 points: %v", r.Drop)
	for _, l := range m.Recipe.Layers {
		require.True(t, l.Float, "auto gives up only when all is float")
	}
	require.InDelta(t, 0, r.Drop, 1e-9)

	var raw bytes.Buffer
	require.NoError(t, r.JSON(&raw))
	var back quant.Report
	require.NoError(t, json.Unmarshal(raw.Bytes(), &back))
	require.Equal(t, r.Drop, back.Drop)
	raw.Reset()
	require.NoError(t, r.Plot(&raw))
	_, err = png.Decode(&raw)
	require.NoError(t, err)
}

// TestOptions: every way of calibrating and rounding gives a working model.
func TestOptions(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(o *quant.Options){
		"minmax":     func(o *quant.Options) { o.Method = "minmax" },
		"percentile": func(o *quant.Options) { o.Method = "percentile" },
		"mse":        func(o *quant.Options) { o.Method = "mse" },
		"entropy":    func(o *quant.Options) { o.Method = "entropy" },
		"i8":         func(o *quant.Options) { o.Activation = tensor.I8 },
		"gptq":       func(o *quant.Options) { o.GPTQ = true },
		"dynamic":    func(o *quant.Options) { o.Dynamic = true },
		"plain":      func(o *quant.Options) { o.Smooth = false },
		"keep":       func(o *quant.Options) { o.KeepFloat = []string{"transformer.h.0.mlp.c_fc.weight"} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, inf, ds := random(t, "gpt", 48)
			o := options()
			change(&o)
			q, err := quant.Quantize(cpu(t), inf, ds, o)
			require.NoError(t, err)
			float, err := quant.Evaluate(cpu(t), inf, ds, 16, 0, nil)
			require.NoError(t, err)
			got, err := quant.Evaluate(cpu(t), q.Inference(), ds, 16, 0, nil)
			require.NoError(t, err)
			require.InDelta(t, float.Loss, got.Loss, 0.05)
			g, err := q.Inference().Build(2, 8)
			require.NoError(t, err)
			floats := 0
			for _, n := range g.Nodes {
				if n.Op.Name == "matmul" && n.In[1].Node.Op.Name == "param" {
					floats++
				}
			}
			require.Equal(t, map[bool]int{name == "keep": 1}[true], floats)
		})
	}
}

// TestGPTQ: rounding that looks at the inputs leaves a smaller error than rounding to nearest.
func TestGPTQ(t *testing.T) {
	t.Parallel()
	errorOf := func(gptq bool) float64 {
		m, inf, ds := random(t, "mlp", 256)
		o := options()
		o.GPTQ, o.Method, o.Batches, o.Rows = gptq, "minmax", 1, 256
		q, err := quant.Quantize(cpu(t), inf, ds, o)
		require.NoError(t, err)
		in, want := exporttest.Run(t, m, inf.Weights, 256, 1)
		got := logits(t, q.Inference(), in, 256, 1)
		sum := 0.0
		for i, v := range want.Float64s() {
			sum += math.Pow(got.Float64s()[i]-v, 2)
		}
		return sum
	}
	require.Less(t, errorOf(true), 1.2*errorOf(false))
}

// TestWeightOnly: Q8_0 rounds to 8 bits per block.
func TestWeightOnly(t *testing.T) {
	t.Parallel()
	_, inf, ds := random(t, "gpt", 32)
	q8, err := quant.WeightOnly(inf)
	require.NoError(t, err)
	a, err := quant.Evaluate(cpu(t), inf, ds, 16, 0, nil)
	require.NoError(t, err)
	b, err := quant.Evaluate(cpu(t), q8, ds, 16, 0, nil)
	require.NoError(t, err)
	require.InDelta(t, a.Loss, b.Loss, 5e-3)
	require.NotEqual(t, a.Loss, b.Loss)
}

// TestFile: what is written is read back as the same model, and generates.
func TestFile(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"convnet", "gpt", "llama", "resnet20"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			m, inf, ds := random(t, kind, 32)
			o := options()
			q, err := quant.Quantize(cpu(t), inf, ds, o)
			require.NoError(t, err)
			cfg, err := json.Marshal(m.Config)
			require.NoError(t, err)
			part, err := q.Part("m.safetensors", map[string]string{"ringo.config": string(cfg)})
			require.NoError(t, err)
			dir := t.TempDir()
			require.NoError(t, files.Write(files.OS{}, dir, part))
			path := filepath.Join(dir, "m.safetensors")
			require.True(t, quant.Is(path))
			f, err := quant.Open(path)
			require.NoError(t, err)
			defer f.Close()
			want, err := quant.Evaluate(cpu(t), q.Inference(), ds, 16, 0, nil)
			require.NoError(t, err)
			got, err := quant.Evaluate(cpu(t), f.Quantized.Inference(), ds, 16, 0, nil)
			require.NoError(t, err)
			require.Equal(t, want.Loss, got.Loss)
			if m.Language() {
				decodes(t, f, q)
			}
		})
	}
}

// decodes compares one step after the other over the cache with the whole sequence at once.
func decodes(t *testing.T, f *quant.File, q *quant.Model) {
	t.Helper()
	tokens := []int32{3, 1, 4, 1, 5}
	all := logits(t, q.Inference(), map[string]*tensor.Tensor{models.Tokens: tensor.Of(tensor.Shape{1, 5}, tokens...)}, 1, 5)
	e, err := f.Generator(cpu(t))
	require.NoError(t, err)
	defer e.Close()
	vocab := f.Model.Vocab
	y := tensor.New(tensor.F32, 1, 1, vocab)
	for i, id := range tokens {
		require.NoError(t, e.Feed(models.Tokens, tensor.Of(tensor.Shape{1, 1}, id).Bytes()))
		require.NoError(t, e.Feed(models.Position, tensor.Of(tensor.Shape{}, int32(i)).Bytes()))
		require.NoError(t, e.Run(0, len(e.Program().Instrs)))
		require.NoError(t, e.Fetch(models.Logits, y.Bytes()))
		want, scale := all.Float64s()[i*vocab:(i+1)*vocab], 0.0
		for _, v := range want {
			scale = max(scale, math.Abs(v))
		}
		for j, v := range y.Float64s() {
			require.InDelta(t, want[j], v, 0.05*scale, "token %d", i)
		}
	}
}

// TestRefusals: bad input is answered with a sentence.
func TestRefusals(t *testing.T) {
	t.Parallel()
	_, inf, ds := random(t, "mlp", 32)
	_, err := quant.Quantize(cpu(t), inf, nil, options())
	require.ErrorContains(t, err, "no calibration data")
	_, err = quant.Quantize(cpu(t), inf, &samples{fields: ds.fields}, options())
	require.ErrorContains(t, err, "no calibration data")
	_, _, err = quant.Checked(cpu(t), inf, ds, nil, options(), quant.Gate{})
	require.ErrorContains(t, err, "no validation data")
	_, _, other := random(t, "convnet", 4)
	_, err = quant.Quantize(cpu(t), inf, other, options())
	require.ErrorContains(t, err, "do not fit the model")
	_, _, words := random(t, "gpt", 4)
	_, err = quant.Quantize(cpu(t), inf, words, options())
	require.ErrorContains(t, err, "have no field")
	for want, change := range map[string]func(o *quant.Options){
		"calibration":  func(o *quant.Options) { o.Method = "guess" },
		"expected i8":  func(o *quant.Options) { o.Activation = tensor.F32 },
		"at least one": func(o *quant.Options) { o.Batches = 0 },
		"percentile":   func(o *quant.Options) { o.Percentile = 30 },
	} {
		o := options()
		change(&o)
		_, err = quant.Quantize(cpu(t), inf, ds, o)
		require.ErrorContains(t, err, want)
	}
	w := tensor.New(tensor.F32, 16, 20)
	tensor.Data[float32](w)[7] = float32(math.NaN())
	nan := *inf
	nan.Weights = over{inf.Weights, export.Tensors{"0.weight": w}}
	_, err = quant.Quantize(cpu(t), &nan, ds, options())
	var bad *export.NotFinite
	require.ErrorAs(t, err, &bad)
	none := &export.Inference{Weights: inf.Weights, Build: func(batch, _ int) (*graph.Graph, error) {
		return graph.Build(func(g *graph.Graph) { g.Output(models.Logits, g.Relu(g.Input("images", tensor.F32, batch, 1, 5, 4))) })
	}}
	_, err = quant.Quantize(cpu(t), none, ds, options())
	require.ErrorContains(t, err, "nothing to quantize")
}

// TestOpenRefuses: a file of another kind, of another model, or with a tensor missing.
func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	open := func(meta map[string]string, items ...safetensors.Item) error {
		path := filepath.Join(t.TempDir(), "m.safetensors")
		var raw bytes.Buffer
		require.NoError(t, safetensors.Write(&raw, meta, items))
		require.NoError(t, os.WriteFile(path, raw.Bytes(), 0o600))
		_, err := quant.Open(path)
		return err
	}
	cfg, err := json.Marshal(exporttest.Configs["mlp"])
	require.NoError(t, err)
	require.ErrorContains(t, open(nil), "not an int8 model of ringo")
	good := map[string]string{"ringo.format": "int8", "ringo.config": string(cfg), "ringo.recipe": `{"format":1,"activations":"u8","layers":[]}`}
	require.ErrorContains(t, open(good), `no tensor "0.weight"`)
	for want, change := range map[string][2]string{
		"ringo.config":   {"ringo.config", "{"},
		"ringo.recipe":   {"ringo.recipe", "{"},
		"format 9":       {"ringo.recipe", `{"format":9}`},
		`activations "q`: {"ringo.recipe", `{"format":1,"activations":"q"}`},
		"no tensor":      {"ringo.recipe", `{"format":1,"activations":"u8","layers":[{"weight":"0.weight"}]}`},
	} {
		meta := map[string]string{}
		for k, v := range good {
			meta[k] = v
		}
		meta[change[0]] = change[1]
		require.ErrorContains(t, open(meta), want)
	}
	_, err = quant.Open(filepath.Join(t.TempDir(), "missing"))
	require.True(t, errors.Is(err, os.ErrNotExist))
	require.False(t, quant.Is("missing"))
}
