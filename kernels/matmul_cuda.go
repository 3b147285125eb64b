//go:build cuda

package kernels

import (
	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

const (
	gemmThreads = 256 // GEMM_THREADS
	gemmTile    = 128 // GEMM_BN, FFMA_BM, and MmaTile<4>::BM
	// mmaShared holds four stages of two panels of 128×32 bf16, and later 128×128 sums.
	mmaShared = 4 * 2 * gemmTile * 32 * 2
	endThread = 256
	maxGridZ  = 65535
)

// epilogueArgs is Epilogue of epilogue.cuh.
type epilogueArgs struct {
	Bias, Pre, Residual, Y, Kept          uint64
	Alpha, Beta                           float32
	Act, ActGrad, BiasRows, Slope, Packed int32
}

// matmulArgs is MatMulArgs of matmul.cuh.
type matmulArgs struct {
	A, B, Partial            uint64
	LDA, LDB                 int64
	End                      epilogueArgs
	M, N, K, Splits, Stretch int32
	First, PackedA, PackedB  int32
	Batch                    broadcastArgs
}

// deviceActivation numbers the activations as activation.cuh does.
var deviceActivation = map[string]int32{"": 0, "relu": 1, "gelu_tanh": 2, "gelu": 3, "silu": 4, "slope": 5}

// deviceProduct is one call of the matrix product kernels: op(A)·op(B) with an epilogue. Factors have one storage type, all else has
// another, which differs where bf16 factors give f32.
type deviceProduct struct {
	dtype, out     tensor.DType
	transA, transB bool
	args           matmulArgs
}

func init() { registerDevice("matmul", deviceMatMul) }

func deviceMatMul(c *DeviceCall) error {
	a := c.Attrs.(graph.MatMul)
	x, w, y := c.In[0], c.In[1], c.Out[0]
	s, shape, err := a.Sizes(x.Shape, w.Shape)
	if err != nil {
		return err
	}
	_, ok := suffix(y.DType)
	wide := x.DType == tensor.BF16 && y.DType == tensor.F32 && a.Term
	if !ok || x.DType != w.DType || x.DType != y.DType && !wide || a.Blocks != [2]int{} { // blocks are the CPU's
		return c.Uncovered()
	}
	p := deviceProduct{dtype: x.DType, out: y.DType, transA: a.TransA, transB: a.TransB}
	p.args = matmulArgs{A: x.Ptr, B: w.Ptr, M: int32(s.M), N: int32(s.N), K: int32(s.K), End: epilogueArgs{
		Y: y.Ptr, Alpha: 1, Beta: 1, Act: deviceActivation[a.Act], ActGrad: deviceActivation[a.ActGrad]}}
	rest := c.In[2:]
	take := func(want bool) (ptr uint64) {
		if want {
			ptr, rest = rest[0].Ptr, rest[1:]
		}
		return ptr
	}
	end := &p.args.End
	end.Bias, end.Pre, end.Residual = take(a.Bias), take(a.ActGrad != ""), take(a.Residual)
	if a.KeepPre {
		end.Kept, end.Slope = c.Out[1].Ptr, truth32(a.Slope)
	}
	if p.args.Batch, ok = matmulBatch(s, shape, x, w); !ok {
		return c.Uncovered()
	}
	return p.run(c)
}

// run asks the device's library first.
func (p *deviceProduct) run(c *DeviceCall) error {
	if done, err := libraryProduct(c, *p); done || err != nil {
		return err
	}
	return p.launch(c)
}

// matmulBatch is the loop over a product's batch entries, with strides in elements of the factors.
func matmulBatch(s graph.MatMulSizes, shape tensor.Shape, x, w DeviceView) (broadcastArgs, bool) {
	if s.Batch == 1 {
		return broadcastArgs{N: 1, Axes: 1, Dims: [broadcastAxes]int32{1}}, true
	}
	lead := func(v DeviceView) DeviceView {
		v.Shape = v.Shape[:len(v.Shape)-2]
		return v
	}
	batch, ok := deviceBroadcast(shape[:len(shape)-2], lead(x), lead(w), 4)
	for d := range batch.Strides[0] {
		batch.Strides[0][d] *= int64(s.M) * int64(s.K)
		batch.Strides[1][d] *= int64(s.K) * int64(s.N)
	}
	return batch, ok
}

// truth32 is a C int.
func truth32(b bool) int32 {
	if b {
		return 1
	}
	return 0
}

// lines returns the elements between stored lines of op(A) (m,k) and op(B) (k,n).
func (p *deviceProduct) lines() (lda, ldb int) {
	a := &p.args
	lda, ldb = int(a.K), int(a.N)
	if p.transA {
		lda = int(a.M)
	}
	if p.transB {
		ldb = int(a.K)
	}
	return lda, ldb
}

// splitK cuts a long sum whose result has too few tiles to fill a GPU: by shape alone, so that the order of the sum is
// the same on every device. Stretches are multiples of 32.
func splitK(tiles, k int) (splits, stretch int) {
	splits = 1
	if tiles < gemmTile && k >= 1024 {
		splits = max(1, min(ceilDiv(256, tiles), k/512, 32))
	}
	stretch = max(32, ceilDiv(ceilDiv(k, splits), 32)*32)
	return max(1, ceilDiv(k, stretch)), stretch
}

// launch adds our own kernels.
func (p *deviceProduct) launch(c *DeviceCall) error {
	a := &p.args
	if a.M == 0 || a.N == 0 || a.Batch.N == 0 {
		return nil
	}
	packed := func(line int, dt tensor.DType) int32 { return packs(line, 16/dt.Size()) }
	lda, ldb := p.lines()
	a.LDA, a.LDB, a.PackedA, a.PackedB = int64(lda), int64(ldb), packed(lda, p.dtype), packed(ldb, p.dtype)
	a.End.Packed = packed(int(a.N), p.out)
	tiles := ceilDiv(int(a.M), gemmTile) * ceilDiv(int(a.N), gemmTile)
	splits, stretch := splitK(tiles*int(min(a.Batch.N, gemmTile)), int(a.K))
	a.Splits, a.Stretch = int32(splits), int32(stretch)
	if splits > 1 {
		a.Partial = c.Scratch(a.Batch.N * int64(splits) * int64(a.M) * int64(a.N) * 4)
	}
	kernel, shared := p.kernel(c.Precision)
	for each := maxGridZ / splits; int64(a.First) < a.Batch.N; a.First += int32(each) {
		entries := min(each, int(a.Batch.N)-int(a.First))
		if err := c.Launch(kernel, Grid(tiles, 1, entries*splits), Block(gemmThreads), shared, *a); err != nil {
			return err
		}
	}
	if splits == 1 {
		return nil
	}
	s, _ := suffix(p.out)
	return c.Launch("matmul_sum"+s, c.Strided(a.Batch.N*int64(a.M)*int64(a.N), endThread), Block(endThread), 0, *a)
}

// kernel returns the name of the kernel and its dynamic shared memory.
func (p *deviceProduct) kernel(precision tensor.DType) (string, int) {
	t := func(trans bool) string {
		if trans {
			return "t"
		}
		return "n"
	}
	flags := "_" + t(p.transA) + t(p.transB)
	switch packed := p.args.PackedA == 1 && p.args.PackedB == 1; {
	case p.out != p.dtype && packed:
		return "matmul_term" + flags, mmaShared
	case p.out != p.dtype:
		return "matmul_term_ragged" + flags, mmaShared
	case p.dtype == tensor.BF16 && packed:
		return "matmul_bf16" + flags, mmaShared
	case p.dtype == tensor.BF16:
		return "matmul_ragged" + flags, mmaShared
	case precision == tensor.BF16:
		return "matmul_round" + flags, mmaShared
	}
	return "matmul_f32" + flags, 0
}

// gemm is the product with its bias, for the device's library.
func (p *deviceProduct) gemm(c *DeviceCall) Gemm {
	a, end := &p.args, &p.args.End
	g := Gemm{M: int(a.M), N: int(a.N), K: int(a.K), TransA: p.transA, TransB: p.transB, A: a.A, B: a.B, C: end.Y, Bias: end.Bias,
		In: p.dtype, Out: p.out, LDC: int(a.N), Batch: int(a.Batch.N), StepA: a.Batch.Strides[0][0], StepB: a.Batch.Strides[1][0],
		StepC: int64(a.M) * int64(a.N), Alpha: end.Alpha, Round: c.Precision}
	g.LDA, g.LDB = p.lines()
	return g
}

// libraryProduct asks the device's library for the product; what it cannot do at the end follows in a kernel of ours. It
// is false where there is no library, the batch has more than one stride, or the bias belongs to rows.
func libraryProduct(c *DeviceCall, p deviceProduct) (bool, error) {
	a, end := &p.args, p.args.End
	if end.BiasRows != 0 && end.Bias != Null || a.Batch.Axes > 1 || a.M == 0 || a.N == 0 || a.K == 0 || a.Batch.N == 0 {
		return false, nil
	}
	g := p.gemm(c)
	plain := end.Pre == Null && end.Residual == Null
	switch {
	case plain && end.Act == 0 && end.Kept == Null:
		return c.Queue.Gemm(&g), nil
	case end.Residual != Null && end.Residual == end.Y: // a sum in place, which no kernel could add afterwards
		g.Beta = end.Beta
		return end.Act == 0 && end.Pre == Null && end.Kept == Null && c.Queue.Gemm(&g), nil
	case end.Residual != Null && end.Act == 0 && end.Pre == Null && end.Kept == Null:
		g.Add, g.Beta = end.Residual, end.Beta
		if c.Queue.Gemm(&g) {
			return true, nil
		}
		g.Add, g.Beta = Null, 0 // the sum follows
	case end.Pre != Null && end.ActGrad == deviceActivation["gelu_tanh"] && end.Act == 0 && end.Bias == Null && end.Residual == Null && end.Kept == Null:
		g.DGelu, g.Aux = true, end.Pre
		if c.Queue.Gemm(&g) {
			return true, nil
		}
		g.DGelu, g.Aux = false, Null // the derivative follows
	case plain && end.Act == deviceActivation["gelu_tanh"] && end.Slope == 0:
		g.Gelu, g.Aux = true, end.Kept
		if c.Queue.Gemm(&g) {
			return true, nil
		}
		g.Gelu, g.Aux = false, Null // the activation follows
	}
	if end.Kept != Null { // the sums with bias are wanted anyway: the rest starts from them
		g.C = end.Kept
	}
	if !c.Queue.Gemm(&g) {
		return false, nil
	}
	end.Alpha, end.Bias = 1, Null
	if end.Slope == 0 {
		end.Kept = Null
	}
	s, _ := suffix(p.out)
	count := g.StepC * int64(g.Batch)
	return true, c.Launch("matmul_end"+s, c.Strided(ceilDiv(count, 2), endThread), Block(endThread), 0, g.C, end, count)
}
