package quant_test

import (
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"ringo/data"
	"ringo/export"
	"ringo/export/onnx"
	"ringo/export/onnxpb"
	"ringo/export/quant"
	"ringo/internal/exporttest"
	"ringo/internal/files"
	"ringo/internal/ort"
	"ringo/models"
	"ringo/runtime/backend"
	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

// samples is a data set of random inputs whose labels are what a model says of them, so that the float model is right
// about all of them.
type samples struct {
	fields []data.Field
	rows   [][][]byte
}

func (s *samples) Len() int             { return len(s.rows) }
func (s *samples) Fields() []data.Field { return s.fields }
func (s *samples) Info() data.Info      { return data.Info{} }
func (s *samples) Read(i int, _ *tensor.Philox, dst [][]byte) error {
	for k := range dst {
		copy(dst[k], s.rows[i][k])
	}
	return nil
}

// random is a small model of a kind, its inference form, and a data set of n samples for it.
func random(t testing.TB, kind string, n int) (*models.Model, *export.Inference, *samples) {
	t.Helper()
	m, w := exporttest.Random(t, exporttest.Configs[kind], 5)
	inf, err := export.Fold(export.Forward(m, w))
	require.NoError(t, err)
	in, logits := exporttest.Run(t, m, w, n, max(1, m.Context))
	s := &samples{}
	g, err := inf.Build(1, max(1, m.Context))
	require.NoError(t, err)
	for _, v := range g.Inputs {
		s.fields = append(s.fields, data.Field{Name: v.Node.Name, DType: v.DType, Shape: v.Shape[1:]})
	}
	target := data.Field{Name: models.Labels, DType: tensor.I32, Shape: tensor.Shape{}}
	if m.Language() {
		target = data.Field{Name: models.Targets, DType: tensor.I32, Shape: tensor.Shape{m.Context}}
	}
	s.fields = append(s.fields, target)
	per := len(logits.Float64s()) / n
	classes := logits.Shape[len(logits.Shape)-1]
	for i := range n {
		var row [][]byte
		for _, f := range s.fields[:len(s.fields)-1] {
			row = append(row, in[f.Name].Bytes()[i*f.Bytes():(i+1)*f.Bytes()])
		}
		labels := tensor.New(tensor.I32, target.Shape...)
		for j := range tensor.Data[int32](labels) {
			at := logits.Float64s()[i*per+j*classes:][:classes]
			for c, v := range at {
				if v > at[tensor.Data[int32](labels)[j]] {
					tensor.Data[int32](labels)[j] = int32(c)
				}
			}
		}
		s.rows = append(s.rows, append(row, labels.Bytes()))
	}
	return m, inf, s
}

func cpu(t testing.TB) backend.Backend {
	t.Helper()
	b, err := backend.Open("cpu", backend.Options{})
	require.NoError(t, err)
	return b
}

func options() quant.Options {
	o := quant.Default()
	o.Batches, o.Rows = 4, 16
	return o
}

// TestModels quantizes every kind of model, runs it in integers here and in ONNX Runtime, and looks at what the latter
// made of it: convolutions and products must have become integer kernels.
func TestModels(t *testing.T) {
	t.Parallel()
	fused := map[string][]string{
		"mlp": {"QGemm"}, "convnet": {"QLinearConv", "QGemm"}, "resnet20": {"QLinearConv"}, "gpt": {"MatMulIntegerToFloat"}, "llama": {"MatMulIntegerToFloat"},
	}
	for kind, ops := range fused {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			m, inf, ds := random(t, kind, 64)
			q, err := quant.Quantize(cpu(t), inf, ds, options())
			require.NoError(t, err)
			float, err := quant.Evaluate(cpu(t), inf, ds, 16, 0, nil)
			require.NoError(t, err)
			int8, err := quant.Evaluate(cpu(t), q.Inference(), ds, 16, 0, nil)
			require.NoError(t, err)
			require.InDelta(t, float.Loss, int8.Loss, 0.02*max(1, float.Loss), "%+v, %+v", float, int8)
			for _, l := range q.Recipe.Layers {
				require.Less(t, l.Error, 2e-3, l.Weight) // 8 bits: 27 dB at least
			}
			runtimeAgrees(t, m, q, ops)
		})
	}
}

// TestRunWithoutFolding: kernels take all their constants, small ones too, from where they lie.
func TestRunWithoutFolding(t *testing.T) {
	t.Parallel()
	m, w := exporttest.Random(t, exporttest.Configs["resnet20"], 5)
	in, want := exporttest.Run(t, m, w, 2, 1)
	g, err := export.Forward(m, w).Build(2, 1)
	require.NoError(t, err)
	got, err := quant.Run(cpu(t), g, w, in)
	require.NoError(t, err)
	require.InDeltaSlice(t, want.Float64s(), got[models.Logits].Float64s(), 1e-5)
}

// runtimeAgrees compares logits with ONNX Runtime's.
func runtimeAgrees(t *testing.T, m *models.Model, q *quant.Model, ops []string) {
	t.Helper()
	ort.Need(t)
	path, optimized := filepath.Join(t.TempDir(), "q.onnx"), filepath.Join(t.TempDir(), "optimized.onnx")
	f, err := onnx.Encode(onnx.Model{Name: m.Name, Inference: q.Inference()})
	require.NoError(t, err)
	require.NoError(t, f.Save(files.OS{}, path))
	s := ort.Open(t, path, ort.Options{Optimized: optimized})
	in, _ := exporttest.Run(t, m, q.Float.Weights, 8, max(1, m.Context))
	got, err := s.Run(in)
	require.NoError(t, err)
	want := logits(t, q.Inference(), in, 8, max(1, m.Context))
	a, b := got[models.Logits].Float64s(), want.Float64s()
	var wrong, all float64
	for i := range a {
		wrong, all = wrong+(a[i]-b[i])*(a[i]-b[i]), all+b[i]*b[i]
	}
	// Both round the same numbers, but float ops between differ in the last bit: now and then a value falls to the other step.
	require.Less(t, math.Sqrt(wrong/all), 2e-2)
	raw, err := os.ReadFile(optimized)
	require.NoError(t, err)
	var pb onnxpb.ModelProto
	require.NoError(t, proto.Unmarshal(raw, &pb))
	count := map[string]int{}
	for _, n := range pb.GetGraph().GetNode() {
		count[n.GetOpType()]++
	}
	for _, op := range ops {
		require.Positive(t, count[op], "ONNX Runtime made %v of the model: expected %s", count, op)
	}
	require.Zero(t, count["Conv"]+count["Gemm"], "%v", count)
}

// logits runs an inference form on ringo's fast kernels.
func logits(t *testing.T, inf *export.Inference, in map[string]*tensor.Tensor, batch, seq int) *tensor.Tensor {
	t.Helper()
	g, err := inf.Build(batch, seq)
	require.NoError(t, err)
	out, err := quant.Run(cpu(t), g, inf.Weights, in)
	require.NoError(t, err)
	return out[models.Logits]
}

// layerModel is one quantized layer with an 8-bit result: x → quantize → layer → (relu) → quantize → y.
func layerModel(build func(g *graph.Graph, x *graph.Value) *graph.Value, shape []int, d tensor.DType) *export.Inference {
	return &export.Inference{Weights: export.Tensors{}, Build: func(batch, _ int) (*graph.Graph, error) {
		return graph.Build(func(g *graph.Graph) {
			x := g.Input("x", tensor.F32, append([]int{batch}, shape...)...)
			one := func(v float32) *graph.Value { return g.Const(tensor.Of(tensor.Shape{}, v)) }
			zero := func(v float64) *graph.Value {
				z := tensor.New(d)
				tensor.StoreFloat64(z.Bytes(), d, []float64{v})
				return g.Const(z)
			}
			xs, xz, ys, yz := one(0.021), zero(7), one(0.037), zero(3)
			y := build(g, g.DequantizeLinear(g.QuantizeLinear(x, xs, xz, 0), xs, xz, 0))
			g.Output("y", g.QuantizeLinear(y, ys, yz, 0))
		})
	}}
}

func int8Weight(g *graph.Graph, axis int, shape ...int) (*graph.Value, []float32) {
	w, p := tensor.New(tensor.I8, shape...), tensor.NewPhilox(3, 1)
	for i := range tensor.Data[int8](w) {
		tensor.Data[int8](w)[i] = int8(p.Next()[0]) | 1
	}
	scales := make([]float32, shape[axis])
	for i := range scales {
		scales[i] = 0.001 + 0.0001*float32(i%7)
	}
	n := tensor.Shape{len(scales)}
	return g.DequantizeLinear(g.Const(w), g.Const(tensor.Of(n, scales...)), g.Const(tensor.New(tensor.I8, n...)), axis), scales
}

func int32Bias(g *graph.Graph, scales []float32) *graph.Value {
	b, s := tensor.New(tensor.I32, len(scales)), tensor.New(tensor.F32, len(scales))
	for i := range scales {
		tensor.Data[int32](b)[i] = int32(731*i - 5000)
		tensor.Data[float32](s)[i] = float32(0.021) * scales[i]
	}
	return g.DequantizeLinear(g.Const(b), g.Const(s), g.Const(tensor.New(tensor.I32, len(scales))), 0)
}

// TestStepByStep: an integer layer gives ONNX Runtime's 8-bit numbers to one step, with almost all equal.
func TestStepByStep(t *testing.T) {
	t.Parallel()
	ort.Need(t)
	layers := map[string]struct {
		shape []int
		build func(g *graph.Graph, x *graph.Value) *graph.Value
	}{
		"conv": {[]int{8, 9, 11}, func(g *graph.Graph, x *graph.Value) *graph.Value {
			w, s := int8Weight(g, 0, 12, 8, 3, 3)
			return g.Relu(g.Conv2D(x, w, int32Bias(g, s), graph.Conv2D{Pad: [4]int{1, 1, 1, 1}, Stride: [2]int{2, 1}}))
		}},
		"wide conv": {[]int{32, 6, 26}, func(g *graph.Graph, x *graph.Value) *graph.Value {
			w, s := int8Weight(g, 0, 64, 32, 3, 3)
			return g.Conv2D(x, w, int32Bias(g, s), graph.Conv2D{})
		}},
		"dense": {[]int{96}, func(g *graph.Graph, x *graph.Value) *graph.Value {
			w, s := int8Weight(g, 0, 40, 96)
			return g.Relu(g.LinearT(x, w, int32Bias(g, s)))
		}},
		"product": {[]int{96}, func(g *graph.Graph, x *graph.Value) *graph.Value {
			w, _ := int8Weight(g, 1, 96, 40)
			return g.Linear(x, w, nil)
		}},
	}
	for name, l := range layers {
		for _, d := range []tensor.DType{tensor.I8, tensor.U8} {
			t.Run(name+"/"+d.String(), func(t *testing.T) {
				t.Parallel()
				inf := layerModel(l.build, l.shape, d)
				f, err := onnx.Encode(onnx.Model{Name: "layer", Inference: inf})
				require.NoError(t, err)
				path := filepath.Join(t.TempDir(), "l.onnx")
				require.NoError(t, f.Save(files.OS{}, path))
				x, p := tensor.New(tensor.F32, append([]int{16}, l.shape...)...), tensor.NewPhilox(1, 2)
				p.FillNormal(tensor.Data[float32](x), 0, 1)
				in := map[string]*tensor.Tensor{"x": x}
				theirs, err := ort.Open(t, path, ort.Options{}).Run(in)
				require.NoError(t, err)
				g, err := inf.Build(16, 1)
				require.NoError(t, err)
				ours, err := quant.Run(cpu(t), g, inf.Weights, in)
				require.NoError(t, err)
				a, b, other, used := theirs["y"].Float64s(), ours["y"].Float64s(), 0, map[float64]bool{}
				for i := range a {
					require.LessOrEqual(t, math.Abs(a[i]-b[i]), 1.0, "element %d", i)
					if used[b[i]] = true; a[i] != b[i] {
						other++
					}
				}
				require.Greater(t, len(used), 40, "the results must use the range")
				require.Less(t, float64(other)/float64(len(a)), 0.001, "share of values one step apart")
			})
		}
	}
}
