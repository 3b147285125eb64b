//go:build cgo

package kernels

import (
	"fmt"
	"testing"
	"time"

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

// BenchmarkGEMM reports the rate of the best iteration, in f32 and in bf16 with bf16 storage, as peers are measured.
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
		A: gen(b, 1, dt, signed, s.m, s.k), B: gen(b, 2, dt, signed, s.k, s.n), C: gen(b, 3, dt, signed, s.m, s.n)}
	flop := 2 * float64(s.m) * float64(s.n) * float64(s.k)
	inner := 1 + int(2e7/flop)                                          // short products run several times per look at the clock
	for start := time.Now(); time.Since(start) < 50*time.Millisecond; { // a new process's threads begin on one core
		p.run()
	}
	best := time.Hour
	for b.Loop() {
		start := time.Now()
		for range inner {
			p.run()
		}
		best = min(best, time.Since(start)/time.Duration(inner))
	}
	b.ReportMetric(flop/float64(best.Nanoseconds()), "GFLOP/s")
}
