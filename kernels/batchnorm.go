package kernels

import (
	"math"

	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

func init() {
	register("batchnorm", refBatchNorm)
	register("batchnorm_infer", refBatchNormInfer)
	register("batchnorm_grad", refBatchNormGrad)
	register("groupnorm", refGroupNorm)
	register("groupnorm_grad", refGroupNormGrad)
}

// nchw splits a shape (N,C,…) into N, C and the elements of one plane.
func nchw(s tensor.Shape) (n, c, plane int) { return s[0], s[1], s[2:].Size() }

// channel calls fn with the index of every element of channel ch of a tensor (N,C,plane).
func channel(n, c, plane, ch int, fn func(i int)) {
	for b := range n {
		for i := range plane {
			fn((b*c+ch)*plane + i)
		}
	}
}

// refBatchNorm: per channel, y = (x − mean)/√(var + eps)·gain + bias.
func refBatchNorm(c *Call) {
	eps := c.Attrs.(graph.Norm).Eps
	n, ch, plane := nchw(c.In[0].Shape)
	x, gain, bias := c.In[0].Load(), c.In[1].Load(), c.In[2].Load()
	means, vars := make([]float64, ch), make([]float64, ch)
	for k := range ch {
		all := make([]float64, 0, n*plane)
		channel(n, ch, plane, k, func(i int) { all = append(all, x[i]) })
		means[k], vars[k] = moments(all)
		rstd := 1 / math.Sqrt(vars[k]+eps)
		channel(n, ch, plane, k, func(i int) { x[i] = (x[i]-means[k])*rstd*gain[k] + bias[k] })
	}
	c.Out[0].Store(x)
	c.Out[1].Store(means)
	c.Out[2].Store(vars)
}

// refBatchNormInfer is refBatchNorm with the given mean and variance.
func refBatchNormInfer(c *Call) {
	eps := c.Attrs.(graph.Norm).Eps
	n, ch, plane := nchw(c.In[0].Shape)
	x, gain, bias, means, vars := c.In[0].Load(), c.In[1].Load(), c.In[2].Load(), c.In[3].Load(), c.In[4].Load()
	for k := range ch {
		rstd := 1 / math.Sqrt(vars[k]+eps)
		channel(n, ch, plane, k, func(i int) { x[i] = (x[i]-means[k])*rstd*gain[k] + bias[k] })
	}
	c.Out[0].Store(x)
}

// refBatchNormGrad: dbias = Σ dy, dgain = Σ dy·x̂, dx = gain·rstd·(dy − dbias/M − x̂·dgain/M).
func refBatchNormGrad(c *Call) {
	eps := c.Attrs.(graph.Norm).Eps
	n, ch, plane := nchw(c.In[0].Shape)
	dy, x, gain, means, vars := c.In[0].Load(), c.In[1].Load(), c.In[2].Load(), c.In[3].Load(), c.In[4].Load()
	dgain, dbias := make([]float64, ch), make([]float64, ch)
	m := float64(n * plane)
	for k := range ch {
		rstd := 1 / math.Sqrt(vars[k]+eps)
		channel(n, ch, plane, k, func(i int) {
			dbias[k] += dy[i]
			dgain[k] += dy[i] * (x[i] - means[k]) * rstd
		})
		channel(n, ch, plane, k, func(i int) {
			xhat := (x[i] - means[k]) * rstd
			dy[i] = gain[k] * rstd * (dy[i] - dbias[k]/m - xhat*dgain[k]/m)
		})
	}
	c.Out[0].Store(dy)
	c.Out[1].Store(dgain)
	c.Out[2].Store(dbias)
}

// refGroupNorm: as layer norm over each group of consecutive channels of one sample; gain and bias per channel.
func refGroupNorm(c *Call) {
	a := c.Attrs.(graph.GroupNorm)
	n, ch, plane := nchw(c.In[0].Shape)
	x, gain, bias := c.In[0].Load(), c.In[1].Load(), c.In[2].Load()
	size := ch / a.Groups * plane // elements of a group
	means, rstds := make([]float64, n*a.Groups), make([]float64, n*a.Groups)
	for g := range means {
		group := x[g*size : (g+1)*size]
		mean, variance := moments(group)
		rstd := 1 / math.Sqrt(variance+a.Eps)
		for i, v := range group {
			k := (g*size + i) / plane % ch
			group[i] = (v-mean)*rstd*gain[k] + bias[k]
		}
		means[g], rstds[g] = mean, rstd
	}
	c.Out[0].Store(x)
	c.Out[1].Store(means)
	c.Out[2].Store(rstds)
}

// refGroupNormGrad, over each group with w = dy·gain: dx = rstd·(w − mean(w) − x̂·mean(w·x̂)).
func refGroupNormGrad(c *Call) {
	a := c.Attrs.(graph.GroupNorm)
	_, ch, plane := nchw(c.In[0].Shape)
	dy, x, gain, means, rstds := c.In[0].Load(), c.In[1].Load(), c.In[2].Load(), c.In[3].Load(), c.In[4].Load()
	size := ch / a.Groups * plane
	dgain, dbias := make([]float64, ch), make([]float64, ch)
	for g := range means {
		var sw, swx float64
		for i := g * size; i < (g+1)*size; i++ {
			k := i / plane % ch
			xhat := (x[i] - means[g]) * rstds[g]
			dbias[k] += dy[i]
			dgain[k] += dy[i] * xhat
			sw += dy[i] * gain[k] / float64(size)
			swx += dy[i] * gain[k] * xhat / float64(size)
		}
		for i := g * size; i < (g+1)*size; i++ {
			xhat := (x[i] - means[g]) * rstds[g]
			dy[i] = rstds[g] * (dy[i]*gain[i/plane%ch] - sw - xhat*swx)
		}
	}
	c.Out[0].Store(dy)
	c.Out[1].Store(dgain)
	c.Out[2].Store(dbias)
}
