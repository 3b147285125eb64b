package bench

import (
	"fmt"

	"ringo/kernels"
	"ringo/runtime/backend"
	"ringo/runtime/graph"
	"ringo/runtime/plan"
	"ringo/runtime/tensor"
)

// trainShape is what the cases of a device are made from: a step of a GPT and of a residual net.
type trainShape struct{ batch, time, heads, dim, vocab, images, channels, side int }

// GPT-2 124M with 16 sequences of 1024 and a layer of resnet18 with 256 images; the software device, whose speed means
// nothing, gets small ones.
var (
	gpuShape  = trainShape{16, 1024, 12, 64, paddedVocab, 256, 64, 56}
	softShape = trainShape{1, 32, 2, 32, 96, 2, 8, 6}
)

// deviceCases are the instructions that fill a step, in storage dt with f32 parameters of norms.
func deviceCases(s trainShape, dt tensor.DType) []kernelCase {
	of := func(shape ...int) graph.Type { return graph.Type{DType: dt, Shape: shape} }
	n, c := s.batch*s.time, s.heads*s.dim
	att := graph.Attention{Heads: s.heads, KVHeads: s.heads, Dim: s.dim, Causal: true, Packed: true}
	conv := graph.Conv2D{Pad: [4]int{1, 1, 1, 1}}
	x, w := [4]int{s.images, s.channels, s.side, s.side}, [4]int{s.channels, s.channels, 3, 3}
	norm, gelu := graph.Norm{Eps: 1e-5}, graph.MatMul{Bias: true, Act: "gelu_tanh", KeepPre: true}
	return []kernelCase{
		{"qkv", "matmul", graph.MatMul{Bias: true}, []graph.Type{of(n, c), of(c, 3*c), of(3 * c)}},
		{"qkv dx", "matmul", graph.MatMul{TransB: true}, []graph.Type{of(n, 3*c), of(c, 3*c)}},
		{"qkv dw", "matmul", graph.MatMul{TransA: true}, []graph.Type{of(n, c), of(n, 3*c)}},
		{"qkv dw + db", "linear_grad", nil, []graph.Type{of(n, c), of(n, 3*c)}},
		{"projection + residual", "matmul", graph.MatMul{Bias: true, Residual: true}, []graph.Type{of(n, c), of(c, c), of(c), of(n, c)}},
		{"fc + gelu", "matmul", gelu, []graph.Type{of(n, c), of(c, 4*c), of(4 * c)}},
		{"fc dx · gelu'", "matmul", graph.MatMul{TransB: true, ActGrad: "gelu_tanh"}, []graph.Type{of(n, c), of(4*c, c), of(n, 4*c)}},
		{"logits", "matmul", graph.MatMul{TransB: true}, []graph.Type{of(n, c), of(s.vocab, c)}},
		{"logits dw, a chunk's", "matmul", graph.MatMul{TransA: true, Term: true, Residual: true}, []graph.Type{of(n, s.vocab), of(n, c), f32(s.vocab, c)}},
		{"attention", "attention", att, []graph.Type{of(s.batch, s.time, 3*c)}},
		{"attention_grad", "attention_grad", att, []graph.Type{of(s.batch, s.time, c), of(s.batch, s.time, 3*c), of(s.batch, s.time, c), f32(s.batch, s.heads, s.time)}},
		{"layernorm", "layernorm", norm, []graph.Type{of(n, c), f32(c), f32(c)}},
		{"add_layernorm", "add_layernorm", norm, []graph.Type{of(n, c), of(n, c), f32(c), f32(c)}},
		{"layernorm_grad", "layernorm_grad", norm, []graph.Type{of(n, c), of(n, c), f32(c), f32(n), f32(n)}},
		{"rmsnorm", "rmsnorm", norm, []graph.Type{of(n, c), f32(c)}},
		{"rmsnorm_grad", "rmsnorm_grad", norm, []graph.Type{of(n, c), of(n, c), f32(c), f32(n)}},
		{"bias gradient", "sum", graph.Reduce{Axes: []int{0}}, []graph.Type{of(n, 4*c)}},
		{"classifier", "cross_entropy_fused", graph.CrossEntropy{Seed: 1}, []graph.Type{of(n, s.vocab), i32(n)}},
		{"embedding", "embedding", nil, []graph.Type{of(s.vocab, c), i32(n)}},
		{"embedding_grad", "embedding_grad", graph.EmbeddingGrad{V: s.vocab}, []graph.Type{of(n, c), i32(n)}},
		{"gelu", "gelu", graph.Gelu{Tanh: true}, []graph.Type{of(n, 4*c)}},
		{"add", "add", nil, []graph.Type{of(n, c), of(n, c)}},
		{"grad_norm", "grad_norm", graph.GradNorm{Max: 1}, []graph.Type{f32(s.vocab * c), f32(graph.HyperLen)}},
		{"adamw", "adamw", graph.AdamW{Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, WeightDecay: 0.1},
			[]graph.Type{f32(s.vocab * c), f32(s.vocab * c), f32(s.vocab * c), f32(s.vocab * c), f32(graph.HyperLen)}},
		{"conv2d", "conv2d", conv, []graph.Type{of(x[:]...), of(w[:]...)}},
		{"conv2d dx", "conv2d_dx", graph.Conv2DGrad{Conv: conv, Shape: x}, []graph.Type{of(x[:]...), of(w[:]...)}},
		{"conv2d dw", "conv2d_dw", graph.Conv2DGrad{Conv: conv, Shape: w}, []graph.Type{of(x[:]...), of(x[:]...)}},
		{"batchnorm", "batchnorm", norm, []graph.Type{of(x[:]...), f32(s.channels), f32(s.channels)}},
	}
}

// deviceKernels times every case on a device, each as a program of its own, beside the device's rate of products and of
// copies.
func deviceKernels(c Config) ([]KernelResult, error) {
	b, err := backend.Open(c.Device, backend.Options{Threads: c.Threads})
	if err != nil {
		return nil, err
	}
	defer b.Close()
	shape, side := gpuShape, 1<<28
	if b.Name() != "cuda" {
		shape, side = softShape, 1<<12
	}
	peak, err := devicePeak(b, c.Precision())
	if err != nil {
		return nil, err
	}
	rate, bytes, _, err := timeOnDevice(b, kernelCase{"copy", "neg", nil, []graph.Type{f32(side)}}, c)
	if err != nil {
		return nil, err
	}
	bandwidth := float64(bytes) / rate / 1e9
	out := []KernelResult{{Job: "kernels", Kernel: "copy of f32", DType: c.DType, MinMS: rate * 1e3, GBps: bandwidth, Floor: rate * 1e3, Share: 1}}
	row := func(k kernelCase) error {
		best, bytes, flops, err := timeOnDevice(b, k, c)
		if err != nil {
			return fmt.Errorf("kernel %s: %w", k.name, err)
		}
		if k.op == "embedding" {
			bytes = 2 * int64(k.in[1].Shape[0]) * int64(k.in[0].Shape[1]) * int64(k.in[0].DType.Size()) // the rows it needs, not the table
		}
		floor := max(float64(flops)/(peak*1e9), float64(bytes)/(bandwidth*1e9))
		out = append(out, KernelResult{Job: "kernels", Kernel: k.name, DType: c.DType, Threads: kernels.Threads(), MinMS: best * 1e3,
			GFLOPS: float64(flops) / best / 1e9, GBps: float64(bytes) / best / 1e9, Floor: floor * 1e3, Share: floor / best})
		return nil
	}
	cases := deviceCases(shape, backend.Tuned(b, plan.Options{Precision: c.Precision(), Storage: tensor.F32}).Storage)
	for _, k := range cases {
		if err := row(k); err != nil {
			return nil, err
		}
	}
	return out, eachVersion(b, cases, row)
}

// eachVersion times attention by each kind of kernel that the device has for it; the rows before are of those that it takes by itself.
func eachVersion(b backend.Backend, cases []kernelCase, row func(kernelCase) error) error {
	v, ok := b.(backend.Versioned)
	if !ok || len(v.Versions()) < 2 {
		return nil
	}
	for _, version := range v.Versions() {
		if err := v.Force(version); err != nil {
			return err
		}
		for _, k := range cases {
			if k.op != "attention" && k.op != "attention_grad" {
				continue
			}
			k.name += ", " + version
			if err := row(k); err != nil {
				return err
			}
		}
	}
	return v.Force("")
}

// timeOnDevice returns the seconds of one run of a case, and the bytes and FLOPs that the planner counts for it. A scalar
// beside it is what the end of the runs is waited for with.
func timeOnDevice(b backend.Backend, k kernelCase, c Config) (seconds float64, bytes, flops int64, err error) {
	g, err := graph.Build(func(g *graph.Graph) {
		in := make([]*graph.Value, len(k.in))
		for i, t := range k.in {
			name := fmt.Sprint("x", i)
			if t.DType.IsFloat() { // kept on the device: an input would also have copies on its way there
				in[i] = g.Param(graph.Leaf{Name: name, Type: t})
			} else {
				in[i] = g.Input(name, t.DType, t.Shape...)
			}
		}
		for i, v := range g.ApplyN(k.op, k.attrs, in...) {
			g.Output(fmt.Sprint("y", i), v)
		}
		g.Output("tick", g.Input("tock", tensor.F32, 1))
	})
	if err != nil {
		return 0, 0, 0, err
	}
	p, err := plan.Compile(g, plan.Options{Precision: c.Precision()})
	if err != nil {
		return 0, 0, 0, err
	}
	st := b.NewStore()
	defer st.Close()
	e, err := b.Compile(p, st)
	if err != nil {
		return 0, 0, 0, err
	}
	defer e.Close()
	if err := fillNumbers(st, e, p); err != nil {
		return 0, 0, 0, err
	}
	var tick [4]byte
	rate, err := bestRate(e, 1e9, func() error { return e.Fetch("tick", tick[:]) }) // runs per second
	t := p.Totals()
	return 1 / rate, t.Bytes, t.FLOPs, err
}

// fillNumbers gives floats numbers of [0.1,1), a stretch of them over and over, and integers the number 1. The stretch is a prime
// long, so that no two rows nearby are alike.
func fillNumbers(st backend.Store, e backend.Executable, p *plan.Program) error {
	numbers, rng := make([]float64, 16381), tensor.NewPhilox(3, 3)
	for i := range numbers {
		numbers[i] = 0.1 + 0.9*float64(tensor.Unit(rng.Next()[0]))
	}
	for _, t := range p.Tensors {
		stretch, raw := make([]byte, len(numbers)*t.Type.DType.Size()), make([]byte, t.Type.Bytes())
		tensor.StoreFloat64(stretch, t.Type.DType, numbers)
		for at := 0; at < len(raw); at += len(stretch) {
			copy(raw[at:], stretch)
		}
		if err := st.Write(t.Name, raw); err != nil {
			return err
		}
	}
	for name, r := range p.Inputs {
		ones := make([]float64, r.Type.Shape.Size())
		for i := range ones {
			ones[i] = 1
		}
		raw := make([]byte, r.Type.Bytes())
		tensor.StoreFloat64(raw, r.Type.DType, ones)
		if err := e.Feed(name, raw); err != nil {
			return err
		}
	}
	return nil
}
