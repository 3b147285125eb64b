//go:build cuda

package cuda

import (
	"testing"

	"github.com/stretchr/testify/require"

	"ringo/cuda/blas"
	"ringo/kernels"
	"ringo/models"
	"ringo/runtime/backend"
	"ringo/runtime/graph"
	"ringo/runtime/plan"
	"ringo/runtime/tensor"
)

// asked is a queue that keeps what a program asks of the library. It takes every product, or, choosy, only those without anything
// at their end: what bindings then ask instead is kept too.
type asked struct {
	choosy   bool
	used     uint64
	products map[string]kernels.Gemm
}

func (*asked) Launch(string, kernels.Dim3, kernels.Dim3, int, []byte, []int) error { return nil }
func (*asked) Fill(uint64, byte, int64)                                            {}
func (*asked) Copy(uint64, uint64, int64)                                          {}
func (a *asked) Scratch(n int64) uint64 {
	a.used += uint64(n+scratchAlign-1) / scratchAlign * scratchAlign
	return 1<<50 + a.used
}
func (a *asked) Fastest(_ *kernels.DeviceCall, v *kernels.Versions) error { return v.List[0].Launch() }
func (a *asked) Gemm(g *kernels.Gemm) bool {
	a.products[productKey(g)] = *g
	return !a.choosy || g.Sums == kernels.Null && g.Add == kernels.Null && !g.Gelu && !g.DGelu
}

// productsOf binds a job to addresses that nothing lies behind.
func productsOf(t *testing.T, b *Backend, m models.Config, batch int, precision tensor.DType) map[string]kernels.Gemm {
	t.Helper()
	model, err := models.New(m)
	require.NoError(t, err)
	g, err := graph.Build(func(g *graph.Graph) { require.NoError(t, model.Loss(g, batch, true)) })
	require.NoError(t, err)
	p, err := plan.Compile(g, backend.Tuned(b, plan.Options{Precision: precision, Training: &plan.Training{Rule: func(graph.Leaf) plan.Update {
		return plan.Update{Op: "adamw", Attrs: graph.AdamW{Beta1: 0.9, Beta2: 0.95, Eps: 1e-8}, Slots: []string{"m", "v"}}
	}}}))
	require.NoError(t, err)
	c := &compiling{d: b.d, p: p, store: b.NewStore().(*store)}
	for r := range c.base {
		c.base[r] = fakeBase(plan.Region(r))
	}
	q := &asked{products: map[string]kernels.Gemm{}}
	for _, q.choosy = range []bool{false, true} {
		for i := range p.Instrs {
			in := &p.Instrs[i]
			call := &kernels.DeviceCall{Op: in.Op.Name, Attrs: in.Attrs, Precision: p.Precision, Device: b.d.info, Queue: q}
			for _, r := range in.In {
				call.In = append(call.In, c.view(r))
			}
			for _, r := range in.Out {
				call.Out = append(call.Out, c.view(r))
			}
			require.NoError(t, kernels.BindDevice(call), in.Name)
		}
	}
	return q.products
}

// What the jobs ask of cuBLASLt keeps to what NVIDIA documents (cuBLAS manual, cublasLtMatmulDescAttributes_t and
// cublasLtEpilogue_t), which the library itself checks only when it looks for an algorithm, on a GPU. Where there is a
// library, it also takes every descriptor, layout and preference.
func TestDescriptorsOfJobs(t *testing.T) {
	t.Parallel()
	b := &Backend{softDevice(t)}
	library, missing := blas.Open()
	for name, job := range map[string]struct {
		model     models.Config
		batch     int
		precision tensor.DType
	}{
		"gpt2-124m":       {models.Config{Name: "gpt", Layers: 2, Heads: 12, Width: 768, Context: 1024, Vocab: 50257}, 64, tensor.BF16},
		"gpt2-350m":       {models.Config{Name: "gpt", Layers: 2, Heads: 16, Width: 1024, Context: 1024, Vocab: 50257}, 32, tensor.BF16},
		"gpt2-124m, fp32": {models.Config{Name: "gpt", Layers: 2, Heads: 12, Width: 768, Context: 1024, Vocab: 50257}, 4, tensor.F32},
		"llama":           {models.Config{Name: "llama", Layers: 2, Heads: 12, KVHeads: 4, Width: 768, Context: 1024, Vocab: 32000}, 16, tensor.BF16},
		"mnist-conv":      {models.Config{Name: "convnet", Channels: []int{32, 64}, Hidden: 128, Input: tensor.Shape{1, 28, 28}, Classes: 10}, 64, tensor.BF16},
		"mnist-mlp":       {models.Config{Name: "mlp", Sizes: []int{512, 512}, Input: tensor.Shape{784}, Classes: 10}, 128, tensor.BF16},
		"resnet18":        {models.Config{Name: "resnet", Layers: 18, Input: tensor.Shape{3, 224, 224}, Classes: 1000}, 256, tensor.BF16},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			products := productsOf(t, b, job.model, job.batch, job.precision)
			require.NotEmpty(t, products)
			for key, g := range products {
				documented(t, key, &g)
				if missing != nil {
					continue
				}
				p, err := blas.NewPlan(blas.Handle{}, &g, 1<<40)
				require.NoError(t, err, key)
				p.Close()
			}
			if missing == nil {
				t.Logf("cuBLASLt %v takes what describes %d kinds of products", library, len(products))
			} else {
				t.Logf("%d kinds of products, not shown to a library: %v", len(products), missing)
			}
		})
	}
}

// documented fails where a product breaks a rule.
func documented(t *testing.T, key string, g *kernels.Gemm) {
	t.Helper()
	wide := func(trans bool, rows, cols int) int {
		if trans {
			return rows
		}
		return cols
	}
	require.GreaterOrEqual(t, g.LDA, wide(g.TransA, g.M, g.K), "%s: lines of A overlap", key)
	require.GreaterOrEqual(t, g.LDB, wide(g.TransB, g.K, g.N), "%s: lines of B overlap", key)
	require.GreaterOrEqual(t, g.LDC, g.N, "%s: lines of C overlap", key)
	// The GELU input matrix: a leading dimension divisible by 8, and a batch stride too.
	if g.Aux != kernels.Null {
		require.True(t, g.Gelu != g.DGelu, "%s: what is Aux for?", key)
		require.Zero(t, g.LDC%8, "%s: lines of Aux", key)
		require.True(t, g.Batch <= 1 || g.StepC%8 == 0, "%s: matrices of Aux", key)
	}
	// BGRADA is an epilogue of its own, for one product.
	if g.Sums != kernels.Null {
		require.True(t, g.Bias == kernels.Null && !g.Gelu && !g.DGelu && g.Beta == 0 && g.Batch <= 1, key)
	}
	// Vectors have the type of C and start where tensors do; the library looks at pointers for their alignment.
	for _, p := range []uint64{g.A, g.B, g.C, g.Add, g.Aux, g.Bias, g.Sums} {
		require.Zero(t, p%16, "%s: an address that is no multiple of 16", key)
	}
}
