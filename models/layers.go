package models

import (
	"math"

	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

// net is a graph being built by a model: the graph's own operations, and the layers of this file.
type net struct {
	*graph.Graph
	cfg      *Config
	dt       tensor.DType
	training bool
	qat      bool                          // quantization-aware: see qat.go
	rounded  map[*graph.Value]*graph.Value // with qat: what fakeInput made of a value

	rng      *graph.Value // I64 (3); nil without dropout
	dropouts uint32       // dropout layers so far: each draws from a key of its own

	pos   *graph.Value // I32 (); set while decoding
	cache int          // tokens of the key/value cache; 0: no cache, attend within the sequence
}

// weight adds a parameter of two or more dimensions.
func (n *net) weight(name string, init graph.Init, hidden bool, shape ...int) *graph.Value {
	return n.Param(graph.Leaf{Name: name, Type: graph.Type{DType: n.dt, Shape: shape}, Init: init, Hidden: hidden})
}

// vector adds a bias or a gain: weight decay leaves those alone.
func (n *net) vector(name string, init graph.Init, size int) *graph.Value {
	return n.Param(graph.Leaf{Name: name, Type: graph.Type{DType: n.dt, Shape: tensor.Shape{size}}, Init: init, NoDecay: true})
}

// linear is torch.nn.Linear: y = x·Wᵀ + b, W (out,in), all starting uniform in ±1/√in (which is what
// kaiming_uniform with a = √5 gives). x (…,in) → (…,out).
func (n *net) linear(name string, x *graph.Value, out int, hidden bool) (y *graph.Value) {
	in := x.Shape[len(x.Shape)-1]
	init := graph.Uniform(1 / math.Sqrt(float64(in)))
	n.Scope(name, func() {
		w := n.weight("weight", init, hidden, out, in)
		y = n.LinearT(x, w, n.vector("bias", init, out))
	})
	return y
}

// project is a linear layer without bias: y = x·Wᵀ, W (out,in), starting normal. x (…,in) → (…,out).
func (n *net) project(name string, x *graph.Value, out int, std float64) (y *graph.Value) {
	n.Scope(name, func() {
		w := n.weight("weight", graph.Normal(std), true, out, x.Shape[len(x.Shape)-1])
		y = n.LinearT(x, w, nil)
	})
	return y
}

// conv is a square convolution, (B,I,H,W) → (B,O,H',W').
func (n *net) conv(name string, x *graph.Value, out, kernel, stride, pad int, bias bool, init func(fanIn, fanOut int) graph.Init) (y *graph.Value) {
	in := x.Shape[1]
	start := init(in*kernel*kernel, out*kernel*kernel)
	a := graph.Conv2D{Stride: [2]int{stride, stride}, Pad: [4]int{pad, pad, pad, pad}}
	n.Scope(name, func() {
		w := n.weight("weight", start, false, out, in, kernel, kernel)
		var b *graph.Value
		if bias {
			b = n.vector("bias", start, out)
		}
		y = n.Conv2D(x, w, b, a)
	})
	return y
}

// torchUniform is PyTorch's default for convolutions and linear layers: ±1/√fan_in.
func torchUniform(fanIn, _ int) graph.Init { return graph.Uniform(1 / math.Sqrt(float64(fanIn))) }

// heNormal is He et al. 2015 (Delving Deep into Rectifiers, eq. 14) with fan_out, as torchvision's resnets.
func heNormal(_, fanOut int) graph.Init { return graph.Normal(math.Sqrt(2 / float64(fanOut))) }

// batchNorm normalises the channels of (B,C,H,W) by the batch's statistics in training and by their running
// averages in evaluation. A batch is one lane's, so the statistics do not depend on the number of workers.
func (n *net) batchNorm(name string, x *graph.Value) (y *graph.Value) {
	const momentum = 0.1 // PyTorch's default
	c, eps := x.Shape[1], n.cfg.NormEps
	n.Scope(name, func() {
		gain, bias := n.vector("weight", graph.Constant(1), c), n.vector("bias", graph.Constant(0), c)
		mean := n.State("running_mean", n.dt, graph.Constant(0), c)
		variance := n.State("running_var", n.dt, graph.Constant(1), c)
		y = n.BatchNorm(x, gain, bias, mean, variance, eps, momentum, n.training)
	})
	return y
}

// layerNorm normalises the last dimension to mean 0 and variance 1, then scales and shifts.
func (n *net) layerNorm(name string, x *graph.Value) (y *graph.Value) {
	c := x.Shape[len(x.Shape)-1]
	n.Scope(name, func() {
		y = n.LayerNorm(x, n.vector("weight", graph.Constant(1), c), n.vector("bias", graph.Constant(0), c), n.cfg.NormEps)
	})
	return y
}

// rmsNorm divides the last dimension by its root mean square, then scales.
func (n *net) rmsNorm(name string, x *graph.Value) (y *graph.Value) {
	n.Scope(name, func() {
		y = n.RMSNorm(x, n.vector("weight", graph.Constant(1), x.Shape[len(x.Shape)-1]), n.cfg.NormEps)
	})
	return y
}

// dropout zeroes activations with probability Dropout and scales the others by 1/(1−Dropout), in training.
func (n *net) dropout(x *graph.Value) *graph.Value {
	if n.rng == nil {
		return x
	}
	n.dropouts++
	return n.Dropout(x, n.rng, n.cfg.Dropout, n.dropouts)
}

// attend is causal attention over packed queries, keys and values, (B,T,(H+2K)·D) → (B,T,H·D). While decoding,
// keys and values go to the cache, states k_cache and v_cache (B,S,K,D), and queries see all up to their position.
func (n *net) attend(qkv *graph.Value, heads, kvHeads, dim int) *graph.Value {
	a := graph.Attention{Heads: heads, KVHeads: kvHeads, Dim: dim, Scale: 1 / math.Sqrt(float64(dim))}
	if n.cache == 0 {
		a.Causal = true
		return n.AttentionPacked(qkv, a)
	}
	b, t := qkv.Shape[0], qkv.Shape[1]
	all := n.Reshape(qkv, b, t, heads+2*kvHeads, dim)
	q := n.SliceAxis(all, 2, 0, heads)
	k := n.SliceAxis(all, 2, heads, heads+kvHeads)
	v := n.SliceAxis(all, 2, heads+kvHeads, heads+2*kvHeads)
	cache := func(name string) *graph.Value {
		return n.State(name, n.dt, graph.Constant(0), b, n.cache, kvHeads, dim)
	}
	k, v = n.KVWrite(cache("k_cache"), k, n.pos), n.KVWrite(cache("v_cache"), v, n.pos)
	y := n.AttentionCached(q, k, v, n.pos, a) // (B,T,H,D)
	return n.Reshape(y, b, t, heads*dim)
}

// block is Scope for one of the model's repeated parts.
func (n *net) block(name string, fn func()) { n.Block(func() { n.Scope(name, fn) }) }
