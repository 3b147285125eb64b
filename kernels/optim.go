package kernels

import (
	"math"

	"ringo/runtime/graph"
)

func init() {
	register("grad_norm", refGradNorm)
	register("adamw", refAdamW)
	register("sgd", refSGD)
	register("lion", refLion)
	register("lerp", func(c *Call) {
		a := c.Attrs.(graph.Lerp)
		s := c.In[0].Load()
		for i, v := range c.In[1].Load() {
			s[i] = (1-a.Alpha)*s[i] + a.Alpha*a.Scale*v
		}
		c.Out[0].Store(s)
	})
}

// refGradNorm: ‖g‖ = scale·√Σ grad², factor min(1, Max/‖g‖), or 1 where Max is 0.
func refGradNorm(c *Call) {
	limit := c.Attrs.(graph.GradNorm).Max
	var sum float64
	for _, v := range c.In[0].Load() {
		sum += v * v
	}
	norm := math.Sqrt(sum) * c.In[1].Load()[graph.HyperScale]
	factor := 1.0
	if limit > 0 && norm > limit {
		factor = limit / norm
	}
	c.Out[0].Store([]float64{norm, factor})
}

// refGradient loads grad (input 1) times hyper[HyperScale] times the clipping factor; input `hyper` is hyper, the
// next, where there is one, grad_norm's output.
func refGradient(c *Call, hyper int) (grad, h []float64) {
	grad, h = c.In[1].Load(), c.In[hyper].Load()
	factor := h[graph.HyperScale]
	if len(c.In) > hyper+1 {
		factor *= c.In[hyper+1].Load()[1]
	}
	for i := range grad {
		grad[i] *= factor
	}
	return grad, h
}

// refAdamW: p −= lr·wd·p; m = β₁·m + (1−β₁)·g; v = β₂·v + (1−β₂)·g²; p −= lr·(m/bias₁)/(√(v/bias₂) + eps).
func refAdamW(c *Call) {
	a := c.Attrs.(graph.AdamW)
	g, h := refGradient(c, 4)
	p, m, v := c.In[0].Load(), c.In[2].Load(), c.In[3].Load()
	lr, bias1, bias2 := h[graph.HyperLR], h[graph.HyperBias1], h[graph.HyperBias2]
	for i := range p {
		p[i] *= 1 - lr*a.WeightDecay
		m[i] = a.Beta1*m[i] + (1-a.Beta1)*g[i]
		v[i] = a.Beta2*v[i] + (1-a.Beta2)*g[i]*g[i]
		p[i] -= lr * (m[i] / bias1) / (math.Sqrt(v[i]/bias2) + a.Eps)
	}
	c.Out[0].Store(p)
	c.Out[1].Store(m)
	c.Out[2].Store(v)
}

// refSGD: g += wd·p; mom = μ·mom + g; p −= lr·(nesterov ? g + μ·mom : mom).
func refSGD(c *Call) {
	a := c.Attrs.(graph.SGD)
	g, h := refGradient(c, 3)
	p, mom := c.In[0].Load(), c.In[2].Load()
	for i := range p {
		d := g[i] + a.WeightDecay*p[i]
		mom[i] = a.Momentum*mom[i] + d
		if a.Nesterov {
			d += a.Momentum * mom[i]
		} else {
			d = mom[i]
		}
		p[i] -= h[graph.HyperLR] * d
	}
	c.Out[0].Store(p)
	c.Out[1].Store(mom)
}

// refLion: p −= lr·(sign(β₁·m + (1−β₁)·g) + wd·p); m = β₂·m + (1−β₂)·g.
func refLion(c *Call) {
	a := c.Attrs.(graph.Lion)
	g, h := refGradient(c, 3)
	p, m := c.In[0].Load(), c.In[2].Load()
	for i := range p {
		u := a.Beta1*m[i] + (1-a.Beta1)*g[i]
		sign := 0.0
		if u != 0 {
			sign = math.Copysign(1, u)
		}
		if u != u {
			sign = u // a NaN gradient stays visible
		}
		p[i] -= h[graph.HyperLR] * (sign + a.WeightDecay*p[i])
		m[i] = a.Beta2*m[i] + (1-a.Beta2)*g[i]
	}
	c.Out[0].Store(p)
	c.Out[1].Store(m)
}
