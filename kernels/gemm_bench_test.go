//go:build cgo

package kernels

import (
	"fmt"
	"runtime"
	"slices"
	"testing"
	"time"

	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

// gemmShape is one product of a training step, named as in bench/peers/gemm.py, which measures peers at the same list.
type gemmShape struct {
	job, form string // "nn" x·w, "nt" dy·wᵀ (dX), "tn" xᵀ·dy (dW)
	m, k, n   int
}

func gemmShapes() []gemmShape {
	var out []gemmShape
	add := func(job string, tokens int, weights ...[2]int) {
		for _, w := range weights {
			k, n := w[0], w[1]
			out = append(out, gemmShape{job, "nn", tokens, k, n}, gemmShape{job, "nt", tokens, n, k}, gemmShape{job, "tn", k, tokens, n})
		}
	}
	gpt2 := [][2]int{{768, 2304}, {768, 768}, {768, 3072}, {3072, 768}}
	add("gpt2", 256, append(gpt2, [2]int{768, 50257})...)
	add("gpt2", 1024, gpt2...)
	for _, tokens := range []int{192, 768} {
		add("gpt-char", tokens, [2]int{128, 128}, [2]int{128, 384}, [2]int{128, 512}, [2]int{512, 128})
	}
	add("gpt-baby", 4096, [2]int{384, 1152}, [2]int{384, 384}, [2]int{384, 1536}, [2]int{1536, 384})
	return out
}

// BenchmarkGEMM reports the rates of the best and the median iteration, in f32 and in bf16 with bf16 storage, as peers are measured.
func BenchmarkGEMM(b *testing.B) {
	Init(0)
	for _, s := range gemmShapes() {
		for _, dt := range []tensor.DType{tensor.F32, tensor.BF16} {
			b.Run(fmt.Sprintf("%s/%s/%dx%dx%d/%v", s.job, s.form, s.m, s.k, s.n, dt), func(b *testing.B) { benchGEMM(b, s, dt) })
		}
	}
}

func benchGEMM(b *testing.B, s gemmShape, dt tensor.DType) {
	p := gemmProduct{M: s.m, N: s.n, K: s.k, TA: s.form == "tn", TB: s.form == "nt", Precision: dt,
		A: repeated(b, 1, dt, s.m*s.k), B: repeated(b, 2, dt, s.k*s.n), C: repeated(b, 3, dt, s.m*s.n)}
	flop := 2 * float64(s.m) * float64(s.n) * float64(s.k)
	inner := 1 + int(2e7/flop)                                          // short products run several times per look at the clock
	for start := time.Now(); time.Since(start) < 50*time.Millisecond; { // a new process's threads begin on one core
		p.run()
	}
	var took []time.Duration
	var between yields // as between the steps of a program
	for b.Loop() {
		between.now()
		start := time.Now()
		for range inner {
			p.run()
		}
		took = append(took, time.Since(start)/time.Duration(inner))
	}
	slices.Sort(took)
	b.ReportMetric(flop/float64(took[0].Nanoseconds()), "GFLOP/s")
	b.ReportMetric(flop/float64(took[len(took)/2].Nanoseconds()), "median-GFLOP/s")
}

// repeated returns n numbers, the first 2²⁰ of them random and then the same again: making random ones takes longer than the products.
func repeated(b *testing.B, seed uint64, dt tensor.DType, n int) *tensor.Tensor {
	x := newOffHeap(graph.Type{DType: dt, Shape: []int{n}})
	b.Cleanup(func() { runtime.KeepAlive(x) })
	some := gen(b, seed, dt, signed, min(n, 1<<20)).Bytes()
	for to := x.Bytes(); len(to) > 0; {
		to = to[copy(to, some):]
	}
	return x
}
