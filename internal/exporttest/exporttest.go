// Package exporttest owns what tests of exports share: tiny models with random weights, their outputs as ringo
// computes them, and other people's software where it is installed. It must not know of formats.
package exporttest

import (
	"errors"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"ringo/data"
	"ringo/export"
	"ringo/export/safetensors"
	"ringo/internal/files"
	"ringo/kernels"
	"ringo/models"
	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

// Configs are tiny models of every kind.
var Configs = map[string]models.Config{
	"mlp":               {Name: "mlp", Input: []int{1, 5, 4}, Classes: 3, Sizes: []int{16, 8}},
	"mlp-embedded":      {Name: "mlp", Input: []int{5}, Classes: 2, Sizes: []int{8}, Categories: []int{4, 7}, Embed: 3},
	"convnet":           {Name: "convnet", Input: []int{1, 12, 12}, Classes: 10, Channels: []int{4, 6}, Hidden: 16},
	"resnet20":          {Name: "resnet", Input: []int{3, 16, 16}, Classes: 10, Layers: 20, Width: 4},
	"resnet18":          {Name: "resnet", Input: []int{3, 20, 20}, Classes: 5, Layers: 18, Width: 4},
	"gpt":               {Name: "gpt", Layers: 2, Heads: 2, Width: 32, Context: 16, Vocab: 61},
	"llama":             {Name: "llama", Layers: 2, Heads: 4, KVHeads: 2, Width: 32, Hidden: 48, Context: 16, Vocab: 64},
	"llama-interleaved": {Name: "llama", Layers: 2, Heads: 4, KVHeads: 4, Width: 32, Hidden: 64, Context: 12, Vocab: 64, RopeInterleaved: true, Tied: true, RopeBase: 5000},
}

// Random returns a model of a configuration and weights that are far from their start: none is zero or one, so a
// forgotten bias, gain or running statistic shows.
func Random(t testing.TB, cfg models.Config, seed uint64) (*models.Model, export.Weights) {
	t.Helper()
	m, err := models.New(cfg)
	require.NoError(t, err)
	g, err := export.Forward(m, nil).Build(1, max(m.Context, 1))
	require.NoError(t, err)
	w := export.Tensors{}
	for i, v := range append(append([]*graph.Value{}, g.Params...), g.States...) {
		x := tensor.New(tensor.F32, v.Shape...)
		p := tensor.NewPhilox(seed, uint64(i))
		switch name := v.Node.Name; {
		case len(v.Shape) > 1:
			rows := v.Shape[1:].Size()
			p.FillNormal(tensor.Data[float32](x), 0, float32(1/math.Sqrt(float64(rows))))
		case filepath.Ext(name) == ".bias" || filepath.Ext(name) == ".running_mean":
			p.FillNormal(tensor.Data[float32](x), 0, 0.2)
		default:
			p.FillUniform(tensor.Data[float32](x), 0.6, 1.4)
		}
		w[v.Node.Name] = x
	}
	return m, w
}

// Run feeds a model random inputs and returns them with the logits of ringo's own kernels.
func Run(t testing.TB, m *models.Model, w export.Weights, batch, seq int) (map[string]*tensor.Tensor, *tensor.Tensor) {
	t.Helper()
	g, err := export.Forward(m, w).Build(batch, seq)
	require.NoError(t, err)
	in := map[string]*tensor.Tensor{}
	for i, v := range g.Inputs {
		x := tensor.New(v.DType, v.Shape...)
		p := tensor.NewPhilox(uint64(batch*100+seq), uint64(i))
		if v.DType == tensor.F32 {
			p.FillNormal(tensor.Data[float32](x), 0, 1)
		} else {
			ids(tensor.Data[int32](x), p, m, v)
		}
		in[v.Node.Name] = x
	}
	return in, Evaluate(t, g, w, in, models.Logits)
}

// Logits are those of a language model for one sequence, (1,T,V).
func Logits(t testing.TB, m *models.Model, w export.Weights, tokens []int32) *tensor.Tensor {
	t.Helper()
	g, err := export.Forward(m, w).Build(1, len(tokens))
	require.NoError(t, err)
	in := map[string]*tensor.Tensor{models.Tokens: tensor.Of(tensor.Shape{1, len(tokens)}, tokens...)}
	return Evaluate(t, g, w, in, models.Logits)
}

// Evaluate computes one output of a graph with ringo's own kernels.
func Evaluate(t testing.TB, g *graph.Graph, w export.Weights, in map[string]*tensor.Tensor, output string) *tensor.Tensor {
	t.Helper()
	feeds := map[*graph.Value]*tensor.Tensor{}
	for _, v := range g.Inputs {
		feeds[v] = in[v.Node.Name]
	}
	for _, v := range append(append([]*graph.Value{}, g.Params...), g.States...) {
		x := tensor.New(v.DType, v.Shape...)
		require.NoError(t, w.Read(v.Node.Name, x.Bytes()))
		feeds[v] = x
	}
	vals, err := kernels.Eval(g, feeds, false)
	require.NoError(t, err)
	out := vals[g.Find(output)].Clone() // values of Eval lie outside Go's heap and go with their tensor
	runtime.KeepAlive(vals)
	return out
}

// ids draws token ids, or values of category columns.
func ids(dst []int32, p tensor.Philox, m *models.Model, v *graph.Value) {
	draw := make([]float32, len(dst))
	p.FillUniform(draw, 0, 1)
	for i, u := range draw {
		n := m.Vocab
		if v.Node.Name == models.Categories {
			n = m.Categories[i%len(m.Categories)]
		}
		dst[i] = int32(u * float32(n))
	}
}

// Decode builds one step of generation, which no format has a place for.
func Decode(m *models.Model) func(batch, seq int) (*graph.Graph, error) {
	return func(batch, _ int) (*graph.Graph, error) {
		return graph.Build(func(g *graph.Graph) { _ = m.Decode(g, batch, m.Context) })
	}
}

// Empty checks that a failed export left nothing in a folder.
func Empty(t testing.TB, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, entries)
}

// PythonVar names a Python interpreter for checks against other people's packages.
const PythonVar = "RINGO_PYTHON"

var (
	pythons = map[string]string{}
	lock    sync.Mutex
)

// Python returns an interpreter that has a package, "" where there is none: the one that PythonVar names, else
// python3 of the path.
func Python(pkg string) string {
	lock.Lock()
	defer lock.Unlock()
	if p, ok := pythons[pkg]; ok {
		return p
	}
	found := ""
	for _, p := range []string{os.Getenv(PythonVar), "python3"} {
		if p == "" || found != "" {
			continue
		}
		if exec.Command(p, "-c", "import importlib.util,sys; sys.exit(importlib.util.find_spec('"+pkg+"') is None)").Run() == nil {
			found = p
		}
	}
	pythons[pkg] = found
	return found
}

// ErrDiskFull is what a full disk answers.
var ErrDiskFull = errors.New("no space left on device")

// FullDisk is a file system on which only so many bytes fit.
type FullDisk struct {
	files.OS
	Left int
}

// Create makes a file whose writes use up the disk.
func (d *FullDisk) Create(path string) (files.File, error) {
	f, err := d.OS.Create(path)
	return &fullFile{f, d}, err
}

type fullFile struct {
	files.File
	disk *FullDisk
}

func (f *fullFile) Write(p []byte) (int, error) {
	n := min(len(p), f.disk.Left)
	f.disk.Left -= n
	if _, err := f.File.Write(p[:n]); err != nil || n == len(p) {
		return n, err
	}
	return n, ErrDiskFull
}

// Source is Random as an export reads it.
func Source(t testing.TB, cfg models.Config, seed uint64) *export.Source {
	t.Helper()
	m, w := Random(t, cfg, seed)
	return SourceOf(t, m, w.(export.Tensors))
}

// SourceOf is a model with weights in memory as an export reads it.
func SourceOf(t testing.TB, m *models.Model, w export.Tensors) *export.Source {
	t.Helper()
	g, err := export.Forward(m, w).Build(1, max(m.Context, 1))
	require.NoError(t, err)
	f := &memory{tensors: map[string]*tensor.Tensor{}}
	for _, x := range m.Weights(g) {
		part := x.Slice(w[x.Param])
		f.tensors[x.Name] = part
		f.entries = append(f.entries, safetensors.Entry{Name: x.Name, DType: part.DType, Shape: part.Shape, Bytes: int64(len(part.Bytes()))})
	}
	s, err := export.NewSource(m, f)
	require.NoError(t, err)
	s.Step = 12
	return s
}

// memory is a file of weights that was never written.
type memory struct {
	entries []safetensors.Entry
	tensors map[string]*tensor.Tensor
}

func (m *memory) Entries() []safetensors.Entry { return m.entries }

func (m *memory) ReadInto(name string, dst []byte) error {
	return export.Tensors(m.tensors).Read(name, dst)
}

// Chars is a tokenizer of n characters.
func Chars(t testing.TB, n int) data.Tokenizer {
	t.Helper()
	chars := "\n é日"
	for r := 'A'; len([]rune(chars)) < n; r++ {
		chars += string(r)
	}
	tok, err := data.OpenTokenizer(data.TokenizerSpec{Name: "char", Chars: chars})
	require.NoError(t, err)
	return tok
}

// Shared returns the path of a real file, such as a published model's, or skips the test. Data sets lie in the folder
// that RINGO_DATA names, or in shared/data beside the repository.
func Shared(t testing.TB, path string) string {
	t.Helper()
	for _, dir := range []string{os.Getenv("RINGO_DATA"), filepath.Join("..", "..", "..", "shared", "data")} {
		p, err := filepath.Abs(filepath.Join(dir, path))
		require.NoError(t, err)
		if _, err := os.Stat(p); dir != "" && err == nil {
			return p
		}
	}
	t.Skipf("needs %s in ../shared/data or RINGO_DATA", path)
	return ""
}

// ReadOnly is a file system that nothing can be written to.
type ReadOnly struct{ files.OS }

// Create fails.
func (ReadOnly) Create(path string) (files.File, error) {
	return nil, &os.PathError{Op: "open", Path: path, Err: syscall.EROFS}
}

// MkdirAll fails.
func (ReadOnly) MkdirAll(dir string) error {
	return &os.PathError{Op: "mkdir", Path: dir, Err: syscall.EROFS}
}
