package kernels

import (
	"math"

	"ringo/runtime/graph"
)

// heads is one operand of an attention in float64: element (b,t,h,d) of a (B,N,·) array whose rows hold
// `row` elements and whose head 0 starts at `first`. Packed operands share one array.
type heads struct {
	x             []float64
	n, row, first int
	dim           int
}

func (o heads) at(b, t, h int) []float64 {
	i := (b*o.n+t)*o.row + o.first + h*o.dim
	return o.x[i : i+o.dim]
}

// split returns q, k and v of in ({q,k,v} or {qkv}) as views of data, one array per input.
func splitHeads(z graph.AttentionSizes, data [][]float64) (q, k, v heads) {
	if len(data) == 1 {
		row := (z.H + 2*z.KV) * z.D
		return heads{data[0], z.T, row, 0, z.D}, heads{data[0], z.T, row, z.H * z.D, z.D},
			heads{data[0], z.T, row, (z.H + z.KV) * z.D, z.D}
	}
	return heads{data[0], z.T, z.H * z.D, 0, z.D}, heads{data[1], z.S, z.KV * z.D, 0, z.D}, heads{data[2], z.S, z.KV * z.D, 0, z.D}
}

// attentionSizes resolves attributes against the views {q,k,v} or {qkv}; the graph checked them already.
func attentionSizes(a graph.Attention, in []View) graph.AttentionSizes {
	k := in[len(in)/2].Shape
	z, err := a.Sizes(in[0].Shape, k)
	if err != nil {
		panic("attention: " + err.Error())
	}
	return z
}

func dot(a, b []float64) (s float64) {
	for i := range a {
		s += a[i] * b[i]
	}
	return s
}

func axpy(y []float64, a float64, x []float64) {
	for i := range x {
		y[i] += a * x[i]
	}
}

// attendRow computes one query's softmax(scale·q·kᵀ)·v over keys [0,seen) into y and returns lse.
func attendRow(y, q []float64, k, v heads, b, g, seen int, scale float64) float64 {
	s := make([]float64, seen)
	top, sum := math.Inf(-1), 0.0
	for j := range s {
		s[j] = scale * dot(q, k.at(b, j, g))
		top = max(top, s[j])
	}
	for j := range s {
		s[j] = math.Exp(s[j] - top)
		sum += s[j]
	}
	clear(y)
	for j := range s {
		axpy(y, s[j]/sum, v.at(b, j, g))
	}
	return top + math.Log(sum)
}

// seenKeys returns how many keys query t sees.
func seenKeys(a graph.Attention, z graph.AttentionSizes, t int) int {
	if a.Causal {
		return t + z.S - z.T + 1
	}
	return z.S
}

func attentionRef(c *Call) {
	a := c.Attrs.(graph.Attention)
	z := attentionSizes(a, c.In)
	q, k, v := splitHeads(z, loadAll(c.In))
	y, lse := make([]float64, z.B*z.T*z.H*z.D), make([]float64, z.B*z.H*z.T)
	out := heads{y, z.T, z.H * z.D, 0, z.D}
	scale := a.SoftmaxScale(z.D)
	for b := range z.B {
		for h := range z.H {
			for t := range z.T {
				lse[(b*z.H+h)*z.T+t] = attendRow(out.at(b, t, h), q.at(b, t, h), k, v, b, h/(z.H/z.KV), seenKeys(a, z, t), scale)
			}
		}
	}
	c.Out[0].Store(y)
	c.Out[1].Store(lse)
}

func loadAll(in []View) [][]float64 {
	var out [][]float64
	for _, v := range in {
		out = append(out, v.Load())
	}
	return out
}

// attentionGradRef: P = exp(S − lse), δ = rowsum(dy∘y) − dlse, dS = P∘(dy·vᵀ − δ);
// dv = Pᵀ·dy, dq = scale·dS·k, dk = scale·dSᵀ·q.
func attentionGradRef(c *Call) {
	a := c.Attrs.(graph.Attention)
	n := len(c.Out) // 1 packed, 3 apart
	z := attentionSizes(a, c.In[1:1+n])
	q, k, v := splitHeads(z, loadAll(c.In[1:1+n]))
	dyx, yx, lse := c.In[0].Load(), c.In[1+n].Load(), c.In[2+n].Load()
	dy, y := heads{dyx, z.T, z.H * z.D, 0, z.D}, heads{yx, z.T, z.H * z.D, 0, z.D}
	dlse := make([]float64, len(lse))
	if len(c.In) > 3+n {
		dlse = c.In[3+n].Load()
	}
	var grads [][]float64
	for _, o := range c.Out {
		grads = append(grads, make([]float64, o.Shape.Size()))
	}
	dq, dk, dv := splitHeads(z, grads)
	scale := a.SoftmaxScale(z.D)
	for b := range z.B {
		for h := range z.H {
			g := h / (z.H / z.KV)
			for t := range z.T {
				at := (b*z.H+h)*z.T + t
				qt, dyt := q.at(b, t, h), dy.at(b, t, h)
				delta := dot(dyt, y.at(b, t, h)) - dlse[at]
				for s := range seenKeys(a, z, t) {
					p := math.Exp(scale*dot(qt, k.at(b, s, g)) - lse[at])
					ds := scale * p * (dot(dyt, v.at(b, s, g)) - delta)
					axpy(dv.at(b, s, g), p, dyt)
					axpy(dq.at(b, t, h), ds, k.at(b, s, g))
					axpy(dk.at(b, s, g), ds, qt)
				}
			}
		}
	}
	for i, o := range c.Out {
		o.Store(grads[i])
	}
}

// position returns pos for sequence b: one for all, or one each.
func position(pos []float64, b int) int {
	if len(pos) == 1 {
		b = 0
	}
	return int(pos[b])
}

func kvWriteRef(c *Call) {
	cache, x, pos := c.In[0].Load(), c.In[1].Load(), c.In[2].Load()
	b, s, t := c.In[0].Shape[0], c.In[0].Shape[1], c.In[1].Shape[1]
	row := c.In[0].Shape[2] * c.In[0].Shape[3]
	for i := range b {
		for j := range t {
			if at := position(pos, i) + j; at >= 0 && at < s {
				copy(cache[(i*s+at)*row:][:row], x[(i*t+j)*row:][:row])
			}
		}
	}
	c.Out[0].Store(cache)
}

func attentionCachedRef(c *Call) {
	a, _ := c.Attrs.(graph.Attention)
	z := attentionSizes(a, c.In[:3])
	q, k, v := splitHeads(z, loadAll(c.In[:3]))
	pos := c.In[3].Load()
	y := make([]float64, z.B*z.T*z.H*z.D)
	out := heads{y, z.T, z.H * z.D, 0, z.D}
	for b := range z.B {
		for h := range z.H {
			for t := range z.T {
				seen := min(z.S, max(1, position(pos, b)+t+1))
				attendRow(out.at(b, t, h), q.at(b, t, h), k, v, b, h/(z.H/z.KV), seen, a.SoftmaxScale(z.D))
			}
		}
	}
	c.Out[0].Store(y)
}

func init() {
	register("attention", attentionRef)
	register("attention_grad", attentionGradRef)
	register("kv_write", kvWriteRef)
	register("attention_cached", attentionCachedRef)
}
