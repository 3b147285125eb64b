package onnx

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"ringo/export"
	"ringo/internal/files"
	"ringo/internal/ort"
	"ringo/kernels"
	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

// notInference are ops that a graph for inference does not have, or that keep state between runs.
func notInference(name string) bool {
	if name[0] == 'q' && name != "quantize_linear" {
		return true // what the planner makes of quantize, dequantize and what is between them
	}
	return strings.HasSuffix(name, "_grad") || strings.HasPrefix(name, "cross_entropy") || strings.HasPrefix(name, "conv2d_d") ||
		slices.Contains([]string{"param", "state", "input", "const", "dropout", "batchnorm", "kv_write", "attention_cached",
			"adamw", "sgd", "lion", "muon", "lerp", "grad_norm", "fake_quantize", "blocks", "matmul_adamw", "round_stochastic"}, name)
}

// TestOps runs every op that has a mapping in ONNX Runtime, on the samples of its row, and compares with the
// float64 reference.
func TestOps(t *testing.T) {
	t.Parallel()
	ort.Need(t)
	for _, op := range graph.Ops() {
		if table[op.Name] == nil {
			continue
		}
		t.Run(op.Name, func(t *testing.T) {
			t.Parallel()
			for i, s := range op.Samples {
				if why := skipSample(op.Name, s); why == "" {
					checkSample(t, op, i, s)
				}
			}
		})
	}
}

// skipSample says why a sample is left out.
func skipSample(op string, s graph.Sample) string {
	if a, ok := s.Attrs.(graph.MatMul); ok && (a.ActGrad != "" || a.Slope) {
		return "a gradient"
	}
	if a, ok := s.Attrs.(graph.Quantize); ok && a.Block > 0 {
		return "opset 21"
	}
	if op == "rope" && len(s.In) > 1 {
		return "positions belong to decoding"
	}
	if c, ok := s.Attrs.(graph.Cast); ok && c.To == tensor.BF16 {
		return "no bf16 outside"
	}
	for _, in := range s.In {
		if in.DType == tensor.BF16 {
			return "no bf16 outside"
		}
	}
	return ""
}

func checkSample(t *testing.T, op *graph.Op, index int, s graph.Sample) {
	t.Helper()
	g, feeds := sampleGraph(t, op, s)
	want, err := kernels.Eval(g, feeds, true)
	require.NoError(t, err)
	path := encode(t, Model{Name: op.Name, Inference: fixed(g, nil)})
	inputs := map[string]*tensor.Tensor{}
	for v, x := range feeds {
		inputs[v.Node.Name] = x
	}
	got, err := ort.Open(t, path, ort.Options{}).Run(inputs)
	require.NoError(t, err)
	for _, o := range g.Outputs {
		require.Less(t, difference(got[o.Name], want[o.Value]), max(1e-5, 2*s.Tol), "%s sample %d %q %+v: %v and %v", op.Name, index, s.Name, s.Attrs, got[o.Name], want[o.Value])
	}
	runtime.KeepAlive(want) // values of Eval lie outside Go's heap and go with their tensor
}

// sampleGraph feeds every input of the op; outputs are those that its mapping gives.
func sampleGraph(t *testing.T, op *graph.Op, s graph.Sample) (*graph.Graph, map[*graph.Value]*tensor.Tensor) {
	t.Helper()
	feeds := map[*graph.Value]*tensor.Tensor{}
	g, err := graph.Build(func(g *graph.Graph) {
		var in []*graph.Value
		for i, x := range s.In {
			data := random(x, uint64(i))
			v := g.Input(fmt.Sprintf("in%d", i), data.DType, data.Shape...)
			feeds[v] = data
			in = append(in, v)
		}
		for i, v := range g.ApplyN(op.Name, s.Attrs, in...) {
			if i < outputsOf(op, s) {
				g.Output(fmt.Sprintf("out%d", i), v)
			}
		}
	})
	require.NoError(t, err)
	return g, feeds
}

// outputsOf counts the outputs that have an ONNX form: statistics and indices have none.
func outputsOf(op *graph.Op, s graph.Sample) int {
	switch {
	case op.Name == "topk", op.Name == "add_layernorm", op.Name == "add_rmsnorm":
		return 2
	case op.Name == "matmul" && s.Attrs.(graph.MatMul).KeepPre:
		return 2
	}
	return 1
}

func random(in graph.SampleIn, seed uint64) *tensor.Tensor {
	dt := in.DType
	if dt == tensor.Invalid {
		if dt = tensor.F32; in.Max > 0 {
			dt = tensor.I32
		}
	}
	t := tensor.New(dt, in.Shape...)
	p := tensor.NewPhilox(7+seed, 1)
	draw := make([]float32, t.Size())
	p.FillUniform(draw, 0, 1)
	vals := make([]float64, t.Size())
	lo, hi := in.Lo, in.Hi
	if lo == 0 && hi == 0 {
		lo, hi = -1, 1
	}
	for i, u := range draw {
		switch {
		case in.Distinct:
			vals[i] = float64((i*7919+3)%len(vals)) / float64(len(vals))
		case in.Max > 0:
			vals[i] = math.Floor(float64(u) * float64(in.Max))
		case dt == tensor.Bool:
			vals[i] = math.Round(float64(u))
		case !dt.IsFloat():
			vals[i] = math.Floor(lo + (hi-lo)*float64(u))
		default:
			vals[i] = lo + (hi-lo)*float64(u)
		}
	}
	tensor.StoreFloat64(t.Bytes(), dt, vals)
	return t
}

// fixed is a graph of one size.
func fixed(g *graph.Graph, w export.Weights) *export.Inference {
	return &export.Inference{Build: func(int, int) (*graph.Graph, error) { return g, nil }, Weights: w}
}

func encode(t *testing.T, m Model) string {
	t.Helper()
	f, err := Encode(m)
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "m.onnx")
	require.NoError(t, f.Save(files.OS{}, path))
	_, err = os.Stat(path)
	require.NoError(t, err)
	return path
}

// difference is the largest difference relative to the largest magnitude; NaN must meet NaN.
func difference(got, want *tensor.Tensor) float64 {
	if got == nil || got.DType != want.DType || !got.Shape.Equal(want.Shape) {
		return math.Inf(1)
	}
	a, b := got.Float64s(), want.Float64s()
	worst, scale := 0.0, 1e-30
	for i := range a {
		if math.IsNaN(a[i]) != math.IsNaN(b[i]) {
			return math.Inf(1)
		}
		worst, scale = max(worst, math.Abs(a[i]-b[i])), max(scale, math.Abs(b[i]))
	}
	return worst / scale
}

// TestTableIsComplete holds every op of the graph to a mapping or to a reason why there is none.
func TestTableIsComplete(t *testing.T) {
	t.Parallel()
	var missing []string
	for _, op := range graph.Ops() {
		if table[op.Name] == nil && !notInference(op.Name) {
			missing = append(missing, op.Name)
		}
		require.False(t, table[op.Name] != nil && notInference(op.Name), "op %s", op.Name)
	}
	require.Empty(t, missing, "ops without an ONNX mapping: add rows to table.go, or say in notInference why they cannot have one")
}
