package quant_test

import (
	"bytes"
	"encoding/json"
	"image/png"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"ringo/export"
	"ringo/export/quant"
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
	out.Weights = overlaid{inf.Weights, export.Tensors{weight: w}}
	return &out
}

type overlaid struct {
	export.Weights
	t export.Tensors
}

func (o overlaid) Read(name string, dst []byte) error {
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

// uneven makes the 16 hidden units of an mlp's first layer 1, 2, 4, … 2¹⁵ times as large, and the weights that read them
// as much smaller: float gives the same to the bit, while 8 bits of one range see no more than half of the units.
func uneven(t *testing.T, inf *export.Inference) *export.Inference {
	t.Helper()
	const units, inputs, outputs = 16, 20, 8
	w, bias, next := tensor.New(tensor.F32, units, inputs), tensor.New(tensor.F32, units), tensor.New(tensor.F32, outputs, units)
	over := export.Tensors{"0.weight": w, "0.bias": bias, "2.weight": next}
	for name, x := range over {
		require.NoError(t, inf.Weights.Read(name, x.Bytes()))
	}
	for u := range units {
		factor := float32(int(1) << u)
		for i := range inputs {
			tensor.Data[float32](w)[u*inputs+i] *= factor
		}
		tensor.Data[float32](bias)[u] *= factor
		for o := range outputs {
			tensor.Data[float32](next)[o*units+u] /= factor
		}
	}
	out := *inf
	out.Weights = overlaid{inf.Weights, over}
	return &out
}

// TestKeepFloat: the gate keeps the one layer in float that int8 spoils, and no other; the model passes and says so.
func TestKeepFloat(t *testing.T) {
	t.Parallel()
	m, even, ds := random(t, "mlp", 400)
	inf := uneven(t, even)
	for _, method := range []string{"auto", "minmax"} {
		o, gate := options(), quant.Gate{MaxDrop: 3, Rows: 16}
		o.Method = method
		_, r, err := quant.Checked(cpu(t), inf, ds, ds, o, gate)
		var refused *quant.Refused
		require.ErrorAs(t, err, &refused, "%v", r.Drop)
		require.Equal(t, 1.0, r.Float.Accuracy, "float is as before")
		require.Greater(t, r.Drop, 2*gate.MaxDrop)
		allInt8 := r.Int8Bytes

		gate.KeepAuto = true
		q, r, err := quant.Checked(cpu(t), inf, ds, ds, o, gate)
		require.NoError(t, err)
		require.True(t, r.Passed)
		require.LessOrEqual(t, r.Drop, gate.MaxDrop)
		for _, l := range r.Layers {
			require.Equal(t, l.Weight == "2.weight", l.Float, l.Weight)
		}
		require.Contains(t, r.Table(), "kept in float")
		require.Less(t, allInt8, r.Int8Bytes)
		require.Less(t, r.Int8Bytes, r.FloatBytes)
		reopened(t, m, q, ds)
	}
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
	nan.Weights = overlaid{inf.Weights, export.Tensors{"0.weight": w}}
	_, err = quant.Quantize(cpu(t), &nan, ds, options())
	var bad *export.NotFinite
	require.ErrorAs(t, err, &bad)
	none := &export.Inference{Weights: inf.Weights, Build: func(batch, _ int) (*graph.Graph, error) {
		return graph.Build(func(g *graph.Graph) { g.Output(models.Logits, g.Relu(g.Input("images", tensor.F32, batch, 1, 5, 4))) })
	}}
	_, err = quant.Quantize(cpu(t), none, ds, options())
	require.ErrorContains(t, err, "nothing to quantize")
}
