package onnx

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"ringo/export"
	"ringo/export/onnxpb"
	"ringo/internal/exporttest"
	"ringo/internal/files"
	"ringo/internal/ort"
	"ringo/models"
	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

// TestModels exports every kind of model and runs it in ONNX Runtime at several batch sizes and lengths, none of
// which it was built for, against ringo's own forward pass.
func TestModels(t *testing.T) {
	t.Parallel()
	ort.Need(t)
	for name, cfg := range exporttest.Configs {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m, w := exporttest.Random(t, cfg, 3)
			inf, err := export.Fold(export.Forward(m, w))
			require.NoError(t, err)
			path := encode(t, Model{Name: name, Inference: inf, Metadata: map[string]string{"ringo.model": cfg.Name}})
			s := ort.Open(t, path, ort.Options{})
			for _, size := range [][2]int{{1, 1}, {4, m.Context}, {5, 3}} {
				batch, seq := size[0], max(1, min(size[1], m.Context))
				in, want := exporttest.Run(t, m, w, batch, seq)
				got, err := s.Run(in)
				require.NoError(t, err)
				require.Less(t, difference(got[models.Logits], want), 1e-5, "batch %d, %d tokens", batch, seq)
			}
			v, err := s.Metadata("ringo.model")
			require.NoError(t, err)
			require.Equal(t, cfg.Name, v)
			check(t, path)
		})
	}
}

// check runs the official checker where Python has it.
func check(t *testing.T, path string) {
	t.Helper()
	python := exporttest.Python("onnx")
	if python == "" {
		return // the same file has just run in ONNX Runtime
	}
	out, err := exec.Command(python, "-c", "import onnx,sys; onnx.checker.check_model(sys.argv[1], full_check=True)", path).CombinedOutput()
	require.NoError(t, err, "%s", out)
}

// TestShortContexts leaves the time axis fixed where there are too few lengths to tell what follows it.
func TestShortContexts(t *testing.T) {
	t.Parallel()
	ort.Need(t)
	for context := 1; context <= 4; context++ {
		for _, name := range []string{"gpt", "llama"} {
			cfg := exporttest.Configs[name]
			cfg.Context = context
			m, w := exporttest.Random(t, cfg, 3)
			path := encode(t, Model{Name: name, Inference: export.Forward(m, w)})
			in, want := exporttest.Run(t, m, w, 3, context)
			got, err := ort.Open(t, path, ort.Options{}).Run(in)
			require.NoError(t, err)
			require.Less(t, difference(got[models.Logits], want), 1e-5, "%s, context %d", name, context)
		}
	}
}

// TestSizesThatDoNotScale refuses a graph with a number that neither stays nor is proportional.
func TestSizesThatDoNotScale(t *testing.T) {
	t.Parallel()
	inf := &export.Inference{Build: func(batch, _ int) (*graph.Graph, error) {
		return graph.Build(func(g *graph.Graph) {
			x := g.Input("x", tensor.F32, batch, 4)
			g.Scope("odd", func() { g.Output("y", g.SliceAxis(x, 0, 0, batch-1)) })
		})
	}}
	_, err := Encode(Model{Name: "odd", Inference: inf})
	require.ErrorContains(t, err, `slice "odd": attribute 0 of [1 4]: the number 1 becomes 2 when a size goes from 2 to 3: expected it to be proportional`)
	inf.Build = func(batch, _ int) (*graph.Graph, error) {
		return graph.Build(func(g *graph.Graph) {
			x := g.Input("x", tensor.F32, 4)
			for range batch {
				x = g.Relu(x)
			}
			g.Output("y", x)
		})
	}
	_, err = Encode(Model{Name: "odd", Inference: inf})
	require.ErrorContains(t, err, "the model has 3 nodes at one size and 4 at another")
}

// TestOutputs gives an output of its own to a value that is an input, a weight, or an output already.
func TestOutputs(t *testing.T) {
	t.Parallel()
	ort.Need(t)
	g, err := graph.Build(func(g *graph.Graph) {
		x := g.Input("x", tensor.F32, 3)
		y := g.Relu(x)
		g.Output("same", x)
		g.Output("one", y)
		g.Output("two", y)
		g.Output("known", g.Const(tensor.Of(tensor.Shape{2}, float32(5), 6)))
		g.Output("last", g.Neg(y))
	})
	require.NoError(t, err)
	path := encode(t, Model{Name: "outputs", Inference: fixed(g, nil)})
	got, err := ort.Open(t, path, ort.Options{}).Run(map[string]*tensor.Tensor{"x": tensor.Of(tensor.Shape{3}, float32(-1), 0, 2)})
	require.NoError(t, err)
	for name, want := range map[string][]float32{"same": {-1, 0, 2}, "one": {0, 0, 2}, "two": {0, 0, 2}, "known": {5, 6}, "last": {0, 0, -2}} {
		require.InDeltaSlice(t, want, tensor.Data[float32](got[name]), 0, name)
	}
	check(t, path)
}

func TestFileSaysWhatItIs(t *testing.T) {
	t.Parallel()
	m, w := exporttest.Random(t, exporttest.Configs["gpt"], 1)
	f, err := Encode(Model{Name: "gpt", Inference: export.Forward(m, w), Metadata: map[string]string{"b": "2", "a": "1"}})
	require.NoError(t, err)
	var raw bytes.Buffer
	n, err := f.WriteTo(&raw)
	require.NoError(t, err)
	require.EqualValues(t, raw.Len(), n)
	var pb onnxpb.ModelProto
	require.NoError(t, proto.Unmarshal(raw.Bytes(), &pb))
	require.EqualValues(t, IRVersion, pb.GetIrVersion())
	require.EqualValues(t, Opset, pb.GetOpsetImport()[0].GetVersion())
	require.Equal(t, []string{"a", "b"}, []string{pb.GetMetadataProps()[0].GetKey(), pb.GetMetadataProps()[1].GetKey()})
	dims := pb.GetGraph().GetInput()[0].GetType().GetTensorType().GetShape().GetDim()
	require.Equal(t, []string{"batch", "time"}, []string{dims[0].GetDimParam(), dims[1].GetDimParam()})
	require.Equal(t, "tokens", pb.GetGraph().GetInput()[0].GetName())
	require.Equal(t, "logits", pb.GetGraph().GetOutput()[0].GetName())
	head := 0 // the tied head lies in the file once
	for _, x := range pb.GetGraph().GetInitializer() {
		if d := x.GetDims(); len(d) == 2 && (d[0] == int64(m.Vocab) || d[1] == int64(m.Vocab)) {
			head++
		}
	}
	require.Equal(t, 1, head)
}

// TestExternalData lowers the limit beyond which weights go to a file of their own.
func TestExternalData(t *testing.T) {
	t.Parallel()
	ort.Need(t)
	m, w := exporttest.Random(t, exporttest.Configs["llama"], 1)
	f, err := Encode(Model{Name: "llama", Inference: export.Forward(m, w)})
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "big.onnx")
	require.NoError(t, f.save(files.OS{}, path, 10_000))
	st, err := os.Stat(path)
	require.NoError(t, err)
	data, err := os.Stat(path + ".data")
	require.NoError(t, err)
	require.Greater(t, data.Size(), st.Size())
	in, want := exporttest.Run(t, m, w, 2, 5)
	got, err := ort.Open(t, path, ort.Options{}).Run(in)
	require.NoError(t, err)
	require.Less(t, difference(got[models.Logits], want), 1e-5)
	check(t, path)
}

func TestOpWithoutForm(t *testing.T) {
	t.Parallel()
	m, w := exporttest.Random(t, exporttest.Configs["gpt"], 1)
	inf := export.Forward(m, w)
	inf.Build, inf.MaxSeq = exporttest.Decode(m), 0
	_, err := Encode(Model{Name: "gpt", Inference: inf})
	require.ErrorContains(t, err, `kv_write "transformer.h.0.attn": the op has no ONNX form: expected one of abs, add,`)
}

func TestWeightThatIsNoNumber(t *testing.T) {
	t.Parallel()
	m, w := exporttest.Random(t, exporttest.Configs["mlp"], 1)
	weights := w.(export.Tensors)
	tensor.Data[float32](weights["2.weight"])[7] = nan()
	f, err := Encode(Model{Name: "mlp", Inference: export.Forward(m, export.Checked(weights))})
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "m.onnx")
	var bad *export.NotFinite
	require.ErrorAs(t, f.Save(files.OS{}, path), &bad)
	require.Equal(t, [2]any{"2.weight", 7}, [2]any{bad.Tensor, bad.Index})
	exporttest.Empty(t, filepath.Dir(path))
}

func nan() float32 {
	zero := float32(0)
	return zero / zero
}

func Example() {
	m, _ := models.New(models.Config{Name: "mlp", Input: []int{4}, Classes: 2, Sizes: []int{3}})
	w := export.Tensors{"0.weight": tensor.New(tensor.F32, 3, 4), "0.bias": tensor.New(tensor.F32, 3), "2.weight": tensor.New(tensor.F32, 2, 3), "2.bias": tensor.New(tensor.F32, 2)}
	f, err := Encode(Model{Name: "mlp", Inference: export.Forward(m, w)})
	for _, n := range f.model.GetGraph().GetNode() {
		fmt.Println(n.GetOpType(), n.GetInput()[1:])
	}
	fmt.Println(err)
	// Output:
	// Gemm [0.weight 0.bias]
	// Relu []
	// Gemm [2.weight 2.bias]
	// <nil>
}
