package kernels

import (
	"math"

	"ringo/runtime/graph"
)

func init() {
	register("layernorm", func(c *Call) { refLayerNorm(c, c.In[0].Load(), c.In[1:3], c.Out) })
	register("add_layernorm", func(c *Call) {
		x := refAddResidual(c)
		refLayerNorm(c, x, c.In[2:4], c.Out[1:])
		c.Out[0].Store(x)
	})
	register("layernorm_grad", refLayerNormGrad)
	register("rmsnorm", func(c *Call) { refRMSNorm(c, c.In[0].Load(), c.In[1], c.Out) })
	register("add_rmsnorm", func(c *Call) {
		x := refAddResidual(c)
		refRMSNorm(c, x, c.In[2], c.Out[1:])
		c.Out[0].Store(x)
	})
	register("rmsnorm_grad", refRMSNormGrad)
}

// refAddResidual returns input 0 + input 1.
func refAddResidual(c *Call) []float64 {
	x := c.In[0].Load()
	for i, r := range c.In[1].Load() {
		x[i] += r
	}
	return x
}

// moments returns mean and biased variance, by two passes.
func moments(x []float64) (mean, variance float64) {
	n := float64(len(x))
	for _, v := range x {
		mean += v / n
	}
	for _, v := range x {
		variance += (v - mean) * (v - mean) / n
	}
	return mean, variance
}

// refLayerNorm: y = (x − mean)·rstd·gain + bias for each row of x (N,C); out is y, mean (N), rstd (N).
func refLayerNorm(c *Call, x []float64, gainBias, out []View) {
	eps := c.Attrs.(graph.Norm).Eps
	gain, bias := gainBias[0].Load(), gainBias[1].Load()
	width := len(gain)
	rows := len(x) / width
	y, means, rstds := make([]float64, len(x)), make([]float64, rows), make([]float64, rows)
	for n := range rows {
		row := x[n*width : (n+1)*width]
		mean, variance := moments(row)
		rstd := 1 / math.Sqrt(variance+eps)
		for i, v := range row {
			y[n*width+i] = (v-mean)*rstd*gain[i] + bias[i]
		}
		means[n], rstds[n] = mean, rstd
	}
	out[0].Store(y)
	out[1].Store(means)
	out[2].Store(rstds)
}

// refLayerNormGrad, with x̂ = (x − mean)·rstd and w = dy·gain:
// dx = rstd·(w − mean(w) − x̂·mean(w·x̂)) [+ dres], dgain = Σ dy·x̂, dbias = Σ dy.
func refLayerNormGrad(c *Call) {
	dy, x, gain, means, rstds := c.In[0].Load(), c.In[1].Load(), c.In[2].Load(), c.In[3].Load(), c.In[4].Load()
	width := len(gain)
	dx, dgain, dbias := make([]float64, len(x)), make([]float64, width), make([]float64, width)
	if len(c.In) == 6 {
		dx = c.In[5].Load()
	}
	for n := range len(x) / width {
		at := n * width
		var sw, swx float64
		for i := range width {
			w, xhat := dy[at+i]*gain[i], (x[at+i]-means[n])*rstds[n]
			sw += w / float64(width)
			swx += w * xhat / float64(width)
			dgain[i] += dy[at+i] * xhat
			dbias[i] += dy[at+i]
		}
		for i := range width {
			w, xhat := dy[at+i]*gain[i], (x[at+i]-means[n])*rstds[n]
			dx[at+i] += rstds[n] * (w - sw - xhat*swx)
		}
	}
	c.Out[0].Store(dx)
	c.Out[1].Store(dgain)
	c.Out[2].Store(dbias)
}

// refRMSNorm: y = x·rstd·gain with rstd = 1/√(mean(x²) + eps); out is y, rstd (N).
func refRMSNorm(c *Call, x []float64, gainView View, out []View) {
	eps := c.Attrs.(graph.Norm).Eps
	gain := gainView.Load()
	width := len(gain)
	rows := len(x) / width
	y, rstds := make([]float64, len(x)), make([]float64, rows)
	for n := range rows {
		row := x[n*width : (n+1)*width]
		var sq float64
		for _, v := range row {
			sq += v * v / float64(width)
		}
		rstds[n] = 1 / math.Sqrt(sq+eps)
		for i, v := range row {
			y[n*width+i] = v * rstds[n] * gain[i]
		}
	}
	out[0].Store(y)
	out[1].Store(rstds)
}

// refRMSNormGrad, with x̂ = x·rstd and w = dy·gain: dx = rstd·(w − x̂·mean(w·x̂)) [+ dres], dgain = Σ dy·x̂.
func refRMSNormGrad(c *Call) {
	dy, x, gain, rstds := c.In[0].Load(), c.In[1].Load(), c.In[2].Load(), c.In[3].Load()
	width := len(gain)
	dx, dgain := make([]float64, len(x)), make([]float64, width)
	if len(c.In) == 5 {
		dx = c.In[4].Load()
	}
	for n := range len(x) / width {
		at := n * width
		var swx float64
		for i := range width {
			xhat := x[at+i] * rstds[n]
			swx += dy[at+i] * gain[i] * xhat / float64(width)
			dgain[i] += dy[at+i] * xhat
		}
		for i := range width {
			dx[at+i] += rstds[n] * (dy[at+i]*gain[i] - x[at+i]*rstds[n]*swx)
		}
	}
	c.Out[0].Store(dx)
	c.Out[1].Store(dgain)
}
