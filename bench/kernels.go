package bench

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"

	"ringo/kernels"
	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

// KernelResult is one kernel beside its roofline: the larger of FLOPs over the machine's measured GEMM peak
// and bytes over its measured memory bandwidth is the least time it can take.
type KernelResult struct {
	Job     string  `json:"job"` // "kernels"
	Kernel  string  `json:"kernel"`
	DType   string  `json:"dtype"`
	Threads int     `json:"threads"`
	MinMS   float64 `json:"min_ms"`
	GFLOPS  float64 `json:"gflops"`
	GBps    float64 `json:"GBps"`
	Floor   float64 `json:"floor_ms"`
	Share   float64 `json:"roofline_share"` // floor over measured
}

// kernelCase is an op at a shape that training meets.
type kernelCase struct {
	name  string
	op    string
	attrs any
	in    []graph.Type
}

func f32(shape ...int) graph.Type { return graph.Type{DType: tensor.F32, Shape: shape} }
func i32(shape ...int) graph.Type { return graph.Type{DType: tensor.I32, Shape: shape} }

// kernelCases are shapes of GPT-2 124M at 256 and 1024 tokens, and of the MNIST convnet.
func kernelCases() []kernelCase {
	var out []kernelCase
	for _, s := range [][3]int{{256, 768, 2304}, {256, 768, 768}, {256, 768, 3072}, {256, 3072, 768}, {1024, 768, 3072}, {256, 768, 50257}} {
		m, k, n := s[0], s[1], s[2]
		label := fmt.Sprintf("matmul %d×%d×%d", m, k, n)
		out = append(out,
			kernelCase{label, "matmul", graph.MatMul{}, []graph.Type{f32(m, k), f32(k, n)}},
			kernelCase{label + " dx", "matmul", graph.MatMul{TransB: true}, []graph.Type{f32(m, n), f32(k, n)}},
			kernelCase{label + " dw", "matmul", graph.MatMul{TransA: true}, []graph.Type{f32(m, k), f32(m, n)}})
	}
	att := graph.Attention{Heads: 12, KVHeads: 12, Dim: 64, Causal: true, Packed: true}
	conv := graph.Conv2D{}
	return append(out,
		kernelCase{"attention B4 T256 H12 D64", "attention", att, []graph.Type{f32(4, 256, 3*768)}},
		kernelCase{"attention_grad B4 T256 H12 D64", "attention_grad", att, []graph.Type{f32(4, 256, 768), f32(4, 256, 3*768), f32(4, 256, 768), f32(4, 12, 256)}},
		kernelCase{"layernorm 1024×768", "layernorm", graph.Norm{Eps: 1e-5}, []graph.Type{f32(1024, 768), f32(768), f32(768)}},
		kernelCase{"layernorm_grad 1024×768", "layernorm_grad", graph.Norm{Eps: 1e-5}, []graph.Type{f32(1024, 768), f32(1024, 768), f32(768), f32(1024), f32(1024)}},
		kernelCase{"cross_entropy_fused 256×50257", "cross_entropy_fused", graph.CrossEntropy{Seed: 1}, []graph.Type{f32(256, 50257), i32(256)}},
		kernelCase{"gelu 1024×3072", "gelu", graph.Gelu{Tanh: true}, []graph.Type{f32(1024, 3072)}},
		kernelCase{"sum over rows 1024×3072", "sum", graph.Reduce{Axes: []int{0}}, []graph.Type{f32(1024, 3072)}},
		kernelCase{"add 1024×768", "add", nil, []graph.Type{f32(1024, 768), f32(1024, 768)}},
		kernelCase{"embedding 1024 of 50257×768", "embedding", nil, []graph.Type{f32(50257, 768), i32(1024)}},
		kernelCase{"adamw 38.6M", "adamw", graph.AdamW{Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, WeightDecay: 0.1},
			[]graph.Type{f32(50257 * 768), f32(50257 * 768), f32(50257 * 768), f32(50257 * 768), f32(graph.HyperLen)}},
		kernelCase{"conv2d 64×32×26×26, 64 3×3", "conv2d", conv, []graph.Type{f32(64, 32, 26, 26), f32(64, 32, 3, 3)}},
		kernelCase{"conv2d dx", "conv2d_dx", graph.Conv2DGrad{Conv: conv, Shape: [4]int{64, 32, 26, 26}}, []graph.Type{f32(64, 64, 24, 24), f32(64, 32, 3, 3)}},
		kernelCase{"conv2d dw", "conv2d_dw", graph.Conv2DGrad{Conv: conv, Shape: [4]int{64, 32, 3, 3}}, []graph.Type{f32(64, 32, 26, 26), f32(64, 64, 24, 24)}},
		kernelCase{"maxpool2d 64×64×24×24", "maxpool2d", graph.Pool2D{Kernel: [2]int{2, 2}, Stride: [2]int{2, 2}}, []graph.Type{f32(64, 64, 24, 24)}},
	)
}

// Kernels times every case; each is the minimum over repetitions of about a quarter of a second. On a device other than the
// CPU it times the instructions that fill a training step there.
func Kernels(c Config) ([]KernelResult, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if c.Device != "" && c.Device != "cpu" {
		return deviceKernels(c)
	}
	kernels.Init(c.Threads)
	peak, rate := kernels.Peak(c.Precision()), StreamBandwidth()
	var out []KernelResult
	for _, k := range kernelCases() {
		r, err := timeKernel(k, c, peak, rate)
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, nil
}

func timeKernel(k kernelCase, c Config, peak, rate float64) (KernelResult, error) {
	var node *graph.Node
	_, err := graph.Build(func(g *graph.Graph) {
		var in []*graph.Value
		for i, t := range k.in {
			in = append(in, g.Input(fmt.Sprint("x", i), t.DType, t.Shape...))
		}
		node = g.ApplyN(k.op, k.attrs, in...)[0].Node
	})
	if err != nil {
		return KernelResult{}, err
	}
	call, arena, err := allocate(node, c.Precision())
	if err != nil {
		return KernelResult{}, err
	}
	defer arena.Close()
	run, err := kernels.Bind(call, false)
	if err != nil {
		return KernelResult{}, err
	}
	best := fastest(run)
	var bytes int64
	for _, v := range slices.Concat(call.In, call.Out) {
		bytes += int64(v.Type.Bytes())
	}
	flops := float64(node.Work())
	if k.op == "embedding" {
		bytes = 2 * int64(node.Out[0].Type.Bytes()) // reads the rows it needs, not the table
	}
	floor := max(flops/(peak*1e9), float64(bytes)/(rate*1e9))
	return KernelResult{Job: "kernels", Kernel: k.name, DType: c.DType, Threads: kernels.Threads(), MinMS: best * 1e3,
		GFLOPS: flops / best / 1e9, GBps: float64(bytes) / best / 1e9, Floor: floor * 1e3, Share: floor / best}, nil
}

// allocate gives a node memory: inputs are small numbers, outputs that change an input share its memory.
func allocate(n *graph.Node, precision tensor.DType) (*kernels.Call, *kernels.Arena, error) {
	call := &kernels.Call{Op: n.Op.Name, Attrs: n.Attrs, Precision: precision}
	total := 0
	for _, v := range slices.Concat(n.In, n.Out) {
		total += v.Type.Bytes() + 2*tensor.Align
	}
	arena, err := kernels.NewArena(total)
	if err != nil {
		return nil, nil, err
	}
	rest := arena.Bytes
	take := func(t graph.Type) kernels.View {
		size := t.Bytes()
		v := kernels.View{Type: t, Bytes: rest[:size:size]}
		rest = rest[(size+tensor.Align-1)/tensor.Align*tensor.Align:]
		return v
	}
	rng := tensor.NewPhilox(3, 3)
	for _, in := range n.In {
		v := take(in.Type)
		if in.DType == tensor.F32 {
			rng.FillUniform(tensor.View[float32](v.Bytes), 0.1, 1)
		}
		call.In = append(call.In, v)
	}
	for i, o := range n.Out {
		v := take(o.Type)
		for _, m := range n.Op.Mutates {
			if m[0] == i {
				v = call.In[m[1]]
			}
		}
		call.Out = append(call.Out, v)
	}
	return call, arena, nil
}

// fastest returns the least seconds of repeated runs.
func fastest(run func()) float64 {
	run()
	best := time.Hour
	for start := time.Now(); time.Since(start) < 250*time.Millisecond; {
		t := time.Now()
		run()
		best = min(best, time.Since(t))
	}
	return best.Seconds()
}

// StreamBandwidth measures bytes read plus bytes written per second, in GB/s, of walking through memory that no
// cache holds, with the same threads that kernels use: the better of copying 256 MiB and of y ← (x+y)/2, since
// which of the two a machine does faster depends on how it treats lines that are written without being read.
func StreamBandwidth() float64 {
	t := f32(64 << 20)
	best := 0.0
	for _, op := range []struct {
		name  string
		attrs any
		moves int // tensors read or written
	}{{"copy", nil, 2}, {"lerp", graph.Lerp{Alpha: 0.5, Scale: 1}, 3}} {
		var node *graph.Node
		_, err := graph.Build(func(g *graph.Graph) {
			in := []*graph.Value{g.Input("x", t.DType, t.Shape...)}
			if op.moves == 3 {
				in = append(in, g.Input("y", t.DType, t.Shape...))
			}
			node = g.Apply(op.name, op.attrs, in...).Node
		})
		if err != nil {
			continue
		}
		call, arena, err := allocate(node, tensor.F32)
		if err != nil {
			continue
		}
		if run, err := kernels.Bind(call, false); err == nil {
			best = max(best, float64(op.moves*t.Bytes())/fastest(run)/1e9)
		}
		_ = arena.Close()
	}
	return best
}

// PrintKernels writes results as a table.
func PrintKernels(w io.Writer, rs []KernelResult, c Config) {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(tw, "kernel\tms\tGFLOP/s\tGB/s\tfloor ms\troofline\t")
	for _, r := range rs {
		fmt.Fprintf(tw, "%s\t%.3f\t%.0f\t%.1f\t%.3f\t%.0f %%\t\n", r.Kernel, r.MinMS, r.GFLOPS, r.GBps, r.Floor, 100*r.Share)
	}
	tw.Flush()
	where := fmt.Sprintf("%d threads", kernels.Threads())
	if c.Device != "" && c.Device != "cpu" {
		where = "device " + c.Device
	}
	fmt.Fprintf(w, "%s, %s; floor: FLOPs over the GEMM peak, or bytes over the bandwidth of memory, measured just now. Data in cache can beat the latter.\n", c.DType, where)
}
