//go:build cgo

package kernels

import (
	"fmt"
	"math"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

// eachPath runs fn at every instruction-set level of this machine, and where it has AMX with f32 products both ways.
func eachPath(t *testing.T, fn func(t *testing.T)) {
	t.Helper()
	defer func() { useF32(""); initCPU(len(isaNames)-1, 2) }()
	for level, isa := range isaNames {
		for _, path := range []string{"fma", "amx"} {
			initCPU(level, 2)
			if isaLevel() != level || path == "amx" && isa != "amx" {
				continue
			}
			useF32(path)
			t.Run(isa+"/"+path, fn)
		}
	}
}

// gen makes an off-heap tensor with numbers from f, a function of uniform numbers of [0,1).
func gen(t testing.TB, seed uint64, dt tensor.DType, f func(u, v float64) float64, shape ...int) *tensor.Tensor {
	x := newOffHeap(graph.Type{DType: dt, Shape: shape})
	t.Cleanup(func() { runtime.KeepAlive(x) })
	p := tensor.NewPhilox(1, seed)
	vals := make([]float64, x.Size())
	for i := range vals {
		b := p.Next()
		vals[i] = f(float64(tensor.Unit(b[0])), float64(tensor.Unit(b[1])))
	}
	tensor.StoreFloat64(x.Bytes(), dt, vals)
	return x
}

func signed(u, _ float64) float64 { return 2*u - 1 }

// wide spreads magnitudes evenly over 2^±range.
func wide(span float64) func(u, v float64) float64 {
	return func(u, v float64) float64 {
		x := math.Exp2((2*v - 1) * span)
		if u < 0.5 {
			return -x * (1 + u)
		}
		return x * (1 + u)
	}
}

// exact returns op(a)·op(b) in float64 and the sums of magnitudes, which errors are measured against.
func exact(p gemmProduct, item int) (sum, mag []float64) {
	a, b := p.A.Float64s()[item*p.StrideA:], p.B.Float64s()[item*p.StrideB:]
	sum, mag = make([]float64, p.M*p.N), make([]float64, p.M*p.N)
	for i := range p.M {
		for k := range p.K {
			x := a[pick(p.TA, k*p.M+i, i*p.K+k)]
			for j := range p.N {
				v := x * b[pick(p.TB, j*p.K+k, k*p.N+j)]
				sum[i*p.N+j] += v
				mag[i*p.N+j] += math.Abs(v)
			}
		}
	}
	return sum, mag
}

// worst returns the largest error relative to the sums of magnitudes.
func worst(p gemmProduct) float64 {
	sum, mag := exact(p, 0)
	return worstOf(p, sum, mag)
}

func worstOf(p gemmProduct, sum, mag []float64) float64 {
	got, e := p.C.Float64s(), 0.0
	for i := range sum {
		if d := math.Abs(got[i]-sum[i]) / mag[i]; !(d <= e) { // keeps NaN
			e = d
		}
	}
	return e
}

var gemmSizes = [][3]int{{1, 1, 1}, {1, 257, 70}, {4, 300, 33}, {5, 3, 2}, {12, 12, 300}, {17, 33, 65}, {31, 130, 17}, {33, 16, 96},
	{48, 31, 129}, {64, 64, 64}, {65, 100, 257}, {130, 47, 31}, {200, 65, 40}, {40, 40, 3200}}

// TestGEMM compares products of all sizes, transpositions and element types with float64.
func TestGEMM(t *testing.T) {
	const (
		f32Tol  = 1.0 / (1 << 21) // a few roundings to 2⁻²⁴ of sums that grow as √k
		bf16Tol = 1.0 / (1 << 8)  // each factor rounded to 2⁻⁹
		outTol  = 1.0 / (1 << 8)  // the result rounded to bf16
	)
	types := [][3]tensor.DType{{tensor.F32, tensor.F32, tensor.F32}, {tensor.BF16, tensor.BF16, tensor.BF16},
		{tensor.BF16, tensor.F32, tensor.F32}, {tensor.F32, tensor.BF16, tensor.BF16}}
	type answer struct{ sum, mag []float64 }
	answers := map[string]answer{} // the same for every path
	eachPath(t, func(t *testing.T) {
		for _, s := range gemmSizes {
			for flags := range 4 {
				for _, dt := range types {
					p := gemmProduct{M: s[0], N: s[1], K: s[2], TA: flags&1 != 0, TB: flags&2 != 0,
						A: gen(t, 1, dt[0], signed, s[0], s[2]), B: gen(t, 2, dt[1], signed, s[2], s[1]), C: gen(t, 3, dt[2], signed, s[0], s[1])}
					key := fmt.Sprint(s, flags, dt)
					if _, ok := answers[key]; !ok {
						sum, mag := exact(p, 0)
						answers[key] = answer{sum, mag}
					}
					for _, p.Precision = range []tensor.DType{tensor.F32, tensor.BF16} {
						tol := f32Tol
						if p.Precision == tensor.BF16 && dt != types[1] {
							tol = bf16Tol
						}
						if dt[2] == tensor.BF16 {
							tol += outTol
						}
						p.run()
						require.LessOrEqual(t, worstOf(p, answers[key].sum, answers[key].mag), tol, "%v ta %v tb %v %v %v", s, p.TA, p.TB, dt, p.Precision)
					}
				}
			}
		}
	})
}

// TestGEMMEpilogue checks C = act(A·B + bias)∘dact'(pre) + residual + beta·C and pre = A·B + bias, over a batch that shares B.
func TestGEMMEpilogue(t *testing.T) {
	eachPath(t, func(t *testing.T) {
		for n, dt := range []tensor.DType{tensor.F32, tensor.BF16} {
			tol := []float64{1e-5, 3e-2}[n] // of numbers up to about 16
			for _, m := range []int{3, 37} {
				for i, act := range []string{"", "relu", "gelu_tanh", "gelu", "silu"} {
					p := gemmProduct{M: m, N: 50, K: 20, Batch: 3, StrideA: m * 20, Act: act, BiasRows: i%2 == 1, Beta: 0.5,
						A: gen(t, 1, dt, signed, 3, m, 20), B: gen(t, 2, dt, signed, 20, 50), C: gen(t, 3, dt, signed, 3, m, 50),
						Bias: gen(t, 4, dt, signed, pick(i%2 == 1, m, 50)), Pre: gen(t, 5, dt, signed, 3, m, 50)}
					if i%2 == 0 {
						p.Act, p.Dact, p.DactPre = "", act, gen(t, 6, dt, signed, 3, m, 50)
						p.Residual = p.C // in place
					}
					before := p.C.Float64s()
					p.run()
					checkEpilogue(t, p, before, tol)
				}
			}
		}
	})
}

func checkEpilogue(t *testing.T, p gemmProduct, before []float64, tol float64) {
	t.Helper()
	got, pre, bias := p.C.Float64s(), p.Pre.Float64s(), p.Bias.Float64s()
	var dactPre []float64
	if p.DactPre != nil {
		dactPre = p.DactPre.Float64s()
	}
	near := func(want, got float64, what string, at int) {
		if !(math.Abs(want-got) <= tol) {
			require.Failf(t, what, "element %d is %g, expected %g ± %g", at, got, want, tol)
		}
	}
	for item := range p.Batch {
		sum, _ := exact(p, item)
		for q, v := range sum {
			at := item*p.M*p.N + q
			v += bias[pick(p.BiasRows, q/p.N, q%p.N)]
			near(v, pre[at], "pre", at)
			v = activate(p.Act, v)
			if dactPre != nil {
				v *= activateGrad(p.Dact, dactPre[at])
			}
			if p.Residual != nil {
				v += before[at]
			}
			near(v+0.5*before[at], got[at], "C after act "+p.Act+p.Dact, at)
		}
	}
}

// TestGEMMThreads demands the same bits from any number of threads, and from the serial entry.
func TestGEMMThreads(t *testing.T) {
	defer initCPU(len(isaNames)-1, 2)
	for _, s := range [][4]int{{130, 200, 300, 1}, {300, 70, 2100, 1}, {70, 600, 1100, 1}, {33, 40, 50, 9}, {1, 2000, 700, 1}, {40, 1000, 200, 2}} {
		for _, prec := range []tensor.DType{tensor.F32, tensor.BF16} {
			p := gemmProduct{M: s[0], N: s[1], K: s[2], Batch: s[3], StrideA: s[0] * s[2], StrideB: s[1] * s[2], Precision: prec,
				A: gen(t, 1, tensor.F32, signed, s[3], s[0], s[2]), B: gen(t, 2, tensor.F32, signed, s[3], s[2], s[1]), C: gen(t, 3, tensor.F32, signed, s[3], s[0], s[1])}
			p.Serial = true
			p.run()
			want := append([]byte{}, p.C.Bytes()...)
			p.Serial = false
			for threads := 1; threads <= 5; threads++ {
				initCPU(len(isaNames)-1, threads)
				p.run()
				require.Equal(t, want, p.C.Bytes(), "%v %v: %d threads", s, prec, threads)
			}
		}
	}
}

// TestGEMMSplitAccuracy: f32 products as sums of bf16 products err at most twice as much as f32 multiply-add, against float64, for
// numbers of any magnitude whose products are ordinary numbers.
func TestGEMMSplitAccuracy(t *testing.T) {
	initCPU(len(isaNames)-1, 2)
	if ISA() != "amx" {
		t.Skip("this CPU has no AMX")
	}
	defer useF32("")
	shift := func(e float64, f func(u, v float64) float64) func(u, v float64) float64 {
		return func(u, v float64) float64 { return math.Exp2(e) * f(u, v) }
	}
	positive := func(u, _ float64) float64 { return u }
	for name, f := range map[string][2]func(u, v float64) float64{
		"uniform": {signed, signed}, "positive": {positive, positive}, "wide": {wide(20), wide(20)}, "very wide": {wide(50), wide(45)},
		"tiny × huge": {shift(-95, signed), shift(100, signed)}, "huge": {shift(60, wide(3)), shift(55, wide(3))}, "small": {shift(-45, wide(3)), shift(-40, wide(3))},
	} {
		for _, k := range []int{12, 33, 128, 768, 3072} {
			p := gemmProduct{M: 64, N: 64, K: k, A: gen(t, 1, tensor.F32, f[0], 64, k), B: gen(t, 2, tensor.F32, f[1], k, 64), C: gen(t, 3, tensor.F32, signed, 64, 64)}
			useF32("fma")
			p.run()
			fma := worst(p)
			useF32("amx")
			p.run()
			require.LessOrEqual(t, worst(p), 2*fma, "%s, k = %d", name, k)
		}
	}
}

// TestGEMMNotFinite: infinities, NaN and numbers next to the largest come out as from plain f32 sums.
func TestGEMMNotFinite(t *testing.T) {
	const n = 70
	odd := map[string]float32{"inf": float32(math.Inf(1)), "-inf": float32(math.Inf(-1)), "nan": float32(math.NaN()),
		"nan with all bits set": math.Float32frombits(0x7fffffff), "max": math.MaxFloat32, "-max": -math.MaxFloat32}
	eachPath(t, func(t *testing.T) {
		for name, v := range odd {
			p := gemmProduct{M: n, N: n, K: n, A: gen(t, 1, tensor.F32, signed, n, n), B: gen(t, 2, tensor.F32, signed, n, n), C: gen(t, 3, tensor.F32, signed, n, n)}
			a, b, c := tensor.Data[float32](p.A), tensor.Data[float32](p.B), tensor.Data[float32](p.C)
			a[3*n+5] = v
			b[5*n+7] = 0.5 // a tile's only factor of v that is exact in bf16
			p.run()
			for i := range n {
				for j := range n {
					var want float32
					for k := range n {
						want += a[i*n+k] * b[k*n+j]
					}
					got := c[i*n+j]
					what := fmt.Sprintf("%s: element (%d,%d)", name, i, j)
					if w := float64(want); math.IsNaN(w) || math.IsInf(w, 0) {
						require.Equal(t, math.Float32bits(want)&0x7f800000, math.Float32bits(got)&0x7f800000, what)
						require.Equal(t, math.IsNaN(w), math.IsNaN(float64(got)), what)
					} else {
						require.InEpsilon(t, 1e3+float64(want), 1e3+float64(got), 1e-5, what)
					}
				}
			}
		}
	})
}

// TestGEMMEmpty: no k at all leaves the epilogue of zeros; no rows leave C alone.
func TestGEMMEmpty(t *testing.T) {
	initCPU(len(isaNames)-1, 2)
	c, bias := gen(t, 1, tensor.F32, signed, 5, 70), gen(t, 2, tensor.F32, signed, 70)
	before := c.Float64s()
	gemmProduct{M: 0, N: 70, K: 3, A: c, B: c, C: c}.run()
	require.Equal(t, before, c.Float64s())
	gemmProduct{M: 5, N: 70, K: 0, A: c, B: c, C: c, Bias: bias}.run()
	require.Equal(t, bias.Float64s(), c.Float64s()[4*70:])
}

func TestPeak(t *testing.T) {
	initCPU(len(isaNames)-1, 2)
	require.Positive(t, Peak(tensor.F32))
	require.Positive(t, Peak(tensor.BF16))
}
