//go:build cuda

package cuda

import (
	"fmt"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"ringo/cuda/blas"
	"ringo/cuda/driver"
	"ringo/kernels"
	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

func TestProductsChild(t *testing.T) {
	if os.Getenv("RINGO_CUBLASLT") == "" {
		t.Skip("runs as a child of TestProductsByTheLibrary")
	}
	d := softDevice(t)
	require.Equal(t, 120603, d.products.version)
	for _, in := range []tensor.DType{tensor.F32, tensor.BF16} {
		for variant := range 32 {
			t.Run(fmt.Sprint(in, " ", variant), func(t *testing.T) {
				checkProduct(t, d, in, variant&1 != 0, variant&2 != 0, variant&4 != 0, variant&8 != 0, variant&16 != 0)
			})
		}
	}
}

// What a gelu's product keeps, per batch entry, is what its gradient's product takes; a residual is added from elsewhere.
func TestProductsAuxiliaryChild(t *testing.T) {
	if os.Getenv("RINGO_CUBLASLT") == "" {
		t.Skip("runs as a child of TestProductsByTheLibrary")
	}
	d := softDevice(t)
	require.NoError(t, d.enter())
	defer d.leave()
	const batch, m, n = 2, 3, 8
	a, b := place(t, d, tensor.F32, batch*m*m, 1), place(t, d, tensor.F32, batch*m*n, 2)
	c, aux, add := place(t, d, tensor.F32, batch*m*n, 3), place(t, d, tensor.F32, batch*m*n, 4), place(t, d, tensor.F32, batch*m*n, 5)
	g := kernels.Gemm{M: m, N: n, K: m, In: tensor.F32, Out: tensor.F32, LDA: m, LDB: n, LDC: n, Batch: batch, StepA: m * m, StepB: m * n, StepC: m * n,
		Alpha: 1, Round: tensor.F32, A: a.ptr, B: b.ptr, C: c.ptr}
	run := func(change func(g *kernels.Gemm)) []float64 {
		g := g
		change(&g)
		list := &binder{d: d, commands: &driver.Commands{}}
		require.True(t, list.Gemm(&g))
		defer list.close()
		require.NoError(t, d.move(c.ptr, c.raw, true)) // timing overwrote it
		require.NoError(t, list.commands.Run(0, 1, d.ctx, d.compute))
		return fetch(t, d, c)
	}
	sums := run(func(*kernels.Gemm) {})
	y := run(func(g *kernels.Gemm) { g.Gelu, g.Aux = true, aux.ptr })
	kept := fetch(t, d, aux)
	slope := run(func(g *kernels.Gemm) { g.DGelu, g.Aux = true, aux.ptr })
	total := run(func(g *kernels.Gemm) { g.Add, g.Beta = add.ptr, 0.5 })
	for i, v := range sums {
		gelu := func(x float64) float64 { return 0.5 * x * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x))) }
		const h = 1e-4
		require.Equal(t, v, kept[i], "element %d", i)
		require.InDelta(t, gelu(v), y[i], 1e-5, "element %d", i)
		require.InDelta(t, v*(gelu(v+h)-gelu(v-h))/(2*h), slope[i], 1e-5, "element %d", i)
		require.InDelta(t, v+0.5*add.x[i], total[i], 1e-5, "element %d", i)
	}
}

// A library that turns out slow, or unable, when its products are timed leaves them to kernels of ours, for whose scratch memory
// there is room: the pass that counts it does not know yet.
func TestProductsRefusedChild(t *testing.T) {
	if os.Getenv("RINGO_CUBLASLT") == "" {
		t.Skip("runs as a child of TestProductsByTheLibrary")
	}
	d := softDevice(t)
	require.NoError(t, d.enter())
	defer d.leave()
	const k, m, n = 4096, 16, 32 // long sums: both the product and the bias's gradient are cut
	view := func(stream uint64, shape ...int) kernels.DeviceView {
		s := tensor.Shape(shape)
		return kernels.DeviceView{Type: graph.Type{DType: tensor.F32, Shape: s}, Ptr: place(t, d, tensor.F32, s.Size(), stream).ptr}
	}
	in, out := []kernels.DeviceView{view(1, k, m), view(2, k, n)}, []kernels.DeviceView{view(3, m, n), view(4, n)}
	bind := func(b *binder) *binder {
		require.NoError(t, kernels.BindDevice(&kernels.DeviceCall{Op: "linear_grad", In: in, Out: out, Precision: tensor.F32, Device: d.info, Queue: b}))
		return b
	}
	room, err := d.allocate(1<<22, false)
	require.NoError(t, err)
	counted := bind(&binder{d: d})
	for _, refuse := range []string{"nothing", "sums true", "sums"} {
		for key := range d.products.kept.entries {
			if strings.Contains(key, refuse) {
				d.products.keep(key, refused)
			}
		}
		list := bind(&binder{d: d, commands: &driver.Commands{}, scratch: room})
		require.Equal(t, refuse == "sums", len(list.plans) == 0, refuse)
		require.LessOrEqual(t, list.peak, counted.peak, refuse)
		require.Equal(t, refuse != "nothing", list.peak > 0, refuse)
		list.close()
	}
}

// A product that the library refuses when it runs says what the library said.
func TestProductsFailingChild(t *testing.T) {
	if os.Getenv("RINGO_CUBLASLT") == "" {
		t.Skip("runs as a child of TestProductsByTheLibrary")
	}
	d := softDevice(t)
	require.NoError(t, d.enter())
	defer d.leave()
	g := kernels.Gemm{M: 1, N: 1, K: 1, In: tensor.F32, Out: tensor.F32, LDA: 1, LDB: 1, LDC: 1, Alpha: 1}
	const unaligned = 1
	p, err := blas.NewPlan(d.products.handle, &g, unaligned)
	require.NoError(t, err)
	defer p.Close()
	list := &driver.Commands{}
	defer list.Close()
	list.Call(p.Call())
	require.EqualError(t, list.Run(0, 1, d.ctx, d.compute), "command 0: the library's call failed with status 7") // CUBLAS_STATUS_INVALID_VALUE
}

// What is left of a product when a kernel of ours does the rest, and what that kernel moves.
func TestProductsApart(t *testing.T) {
	t.Parallel()
	g := kernels.Gemm{M: 4, N: 8, K: 16, In: tensor.BF16, Out: tensor.BF16, Bias: 1}
	_, bytes := apart(&g)
	require.Zero(t, bytes, "a bias costs nothing")
	for _, c := range []struct {
		change func(g *kernels.Gemm)
		bytes  float64
	}{
		{func(g *kernels.Gemm) { g.Sums = 2 }, 16 * 8 * 2},
		{func(g *kernels.Gemm) { g.Add, g.Beta = 2, 1 }, 3 * 4 * 8 * 2},
		{func(g *kernels.Gemm) { g.DGelu, g.Aux = true, 2 }, 3 * 4 * 8 * 2},
		{func(g *kernels.Gemm) { g.Gelu, g.Aux = true, 2 }, 2 * 4 * 8 * 2},
	} {
		with := g
		c.change(&with)
		alone, bytes := apart(&with)
		require.Equal(t, g, alone)
		require.Equal(t, c.bytes, bytes)
	}
}

// What products are timed on: every number is there, of both signs, and no two stretches are alike.
func TestNoiseChild(t *testing.T) {
	if os.Getenv("RINGO_CUBLASLT") == "" {
		t.Skip("runs as a child of TestProductsByTheLibrary")
	}
	d := softDevice(t)
	require.NoError(t, d.enter())
	defer d.leave()
	const n = 1 << 16
	p := place(t, d, tensor.BF16, n, 1)
	require.NoError(t, d.noise(p.ptr, 2*n))
	require.NoError(t, d.move(p.ptr, p.raw, false))
	tensor.LoadFloat64(p.x, tensor.BF16, p.raw)
	var sum, squares float64
	for i, x := range p.x {
		require.True(t, math.Abs(x) <= 1, "element %d is %g", i, x)
		sum, squares = sum+x, squares+x*x
	}
	require.InDelta(t, 0, sum/n, 0.01)
	require.InDelta(t, 1.0/3, squares/n, 0.01, "uniform over [−1,1)")
	require.NotEqual(t, p.x[:64], p.x[64:128])
}

func fetch(t *testing.T, d *device, p placed) []float64 {
	t.Helper()
	got, x := make([]byte, len(p.raw)), make([]float64, len(p.x))
	require.NoError(t, d.move(p.ptr, got, false))
	tensor.LoadFloat64(x, tensor.F32, got)
	return x
}

// checkProduct compares C (2,5,16) = A (2,5,7)·B (2,7,16), with what goes on at its end, with plain sums.
func checkProduct(t *testing.T, d *device, in tensor.DType, transA, transB, bias, gelu, accumulate bool) {
	t.Helper()
	require.NoError(t, d.enter())
	defer d.leave()
	const batch, m, n, k = 2, 5, 16, 7
	g := &kernels.Gemm{M: m, N: n, K: k, TransA: transA, TransB: transB, In: in, Out: in, LDA: k, LDB: n, LDC: n,
		Batch: batch, StepA: m * k, StepB: k * n, StepC: m * n, Alpha: 0.5, Round: tensor.F32}
	if transA {
		g.LDA = m
	}
	if transB {
		g.LDB = k
	}
	a, b, c, extra := place(t, d, in, batch*m*k, 1), place(t, d, in, batch*k*n, 2), place(t, d, in, batch*m*n, 3), place(t, d, in, n, 4)
	g.A, g.B, g.C = a.ptr, b.ptr, c.ptr
	if bias {
		g.Bias = extra.ptr
	}
	g.Gelu = gelu
	if accumulate {
		g.Beta = 1
	}
	list := &binder{d: d, commands: &driver.Commands{}}
	require.True(t, list.Gemm(g))
	require.NoError(t, d.move(c.ptr, c.raw, true)) // timing overwrote it
	require.NoError(t, list.commands.Run(0, 1, d.ctx, d.compute))
	got := make([]byte, len(c.raw))
	require.NoError(t, d.move(c.ptr, got, false))
	y := make([]float64, batch*m*n)
	tensor.LoadFloat64(y, in, got)
	for i := range y {
		z, row, col := i/(m*n), i/n%m, i%n
		var s float64
		for l := range k {
			ia, ib := z*m*k+row*k+l, z*k*n+l*n+col
			if transA {
				ia = z*m*k + l*m + row
			}
			if transB {
				ib = z*k*n + col*k + l
			}
			s += a.x[ia] * b.x[ib]
		}
		want := 0.5 * s
		if accumulate {
			want += c.x[i]
		}
		if bias {
			want += extra.x[col]
		}
		if gelu {
			want *= 0.5 * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(want+0.044715*want*want*want)))
		}
		require.InDelta(t, want, y[i], map[tensor.DType]float64{tensor.F32: 1e-5, tensor.BF16: 2e-2}[in], "element %d", i)
	}
	list.close()
}

// placed is an array on the device and its contents.
type placed struct {
	ptr uint64
	raw []byte
	x   []float64
}

func place(t *testing.T, d *device, dt tensor.DType, n int, stream uint64) placed {
	t.Helper()
	p := placed{raw: make([]byte, n*dt.Size()), x: make([]float64, n)}
	rng := tensor.NewPhilox(5, stream)
	for i := range p.x {
		p.x[i] = 2*float64(tensor.Unit(rng.Next()[0])) - 1
	}
	tensor.StoreFloat64(p.raw, dt, p.x)
	tensor.LoadFloat64(p.x, dt, p.raw)
	var err error
	p.ptr, err = d.allocate(int64(len(p.raw)), false)
	require.NoError(t, err)
	require.NoError(t, d.move(p.ptr, p.raw, true))
	return p
}
