package kernels

import (
	"math"

	"ringo/runtime/graph"
)

func init() {
	register("cross_entropy", func(c *Call) {
		a := c.Attrs.(graph.CrossEntropy)
		loss, lse := refCrossEntropy(a, c.In[0], c.In[1].Load())
		c.Out[0].Store([]float64{loss})
		c.Out[1].Store(lse)
	})
	register("cross_entropy_grad", func(c *Call) {
		a := c.Attrs.(graph.CrossEntropy)
		c.Out[0].Store(refCrossEntropyGrad(a, c.In[0].Load()[0], c.In[1], c.In[2].Load(), c.In[3].Load()))
	})
	register("cross_entropy_fused", func(c *Call) {
		a := c.Attrs.(graph.CrossEntropy)
		targets := c.In[1].Load()
		loss, lse := refCrossEntropy(a, c.In[0], targets)
		d := refCrossEntropyGrad(a, a.Seed, c.In[0], targets, lse)
		c.Out[0].Store([]float64{loss})
		c.Out[1].Store(d)
	})
}

// ignored says whether a target's row counts in neither loss nor gradient.
func ignored(a graph.CrossEntropy, target float64) bool {
	return a.HasIgnore && int(target) == a.Ignore
}

// counted returns how many targets are not ignored, and the targets of logits of some rows.
func counted(a graph.CrossEntropy, targets []float64, rows int) (count int, own []float64) {
	for _, t := range targets {
		if !ignored(a, t) {
			count++
		}
	}
	return count, targets[a.First:][:rows]
}

// refCrossEntropy returns the sum of lse − (1−s)·logits[target] − s·mean(logits) over the rows that are not ignored, by the number of
// all that are not, and lse of every row.
func refCrossEntropy(a graph.CrossEntropy, logits View, targets []float64) (loss float64, lse []float64) {
	x, columns := logits.Load(), logits.Shape[1]
	v := a.Of(columns)
	count, own := counted(a, targets, logits.Shape[0])
	for n, t := range own {
		row := x[n*columns:][:v]
		lse = append(lse, logSumExp(row))
		if ignored(a, t) {
			continue
		}
		if t < 0 || int(t) >= v {
			loss = math.NaN()
			continue
		}
		loss += lse[n] - (1-a.Smoothing)*row[int(t)]
		if a.Smoothing > 0 {
			for _, z := range row {
				loss -= a.Smoothing / float64(v) * z
			}
		}
	}
	return loss / float64(count), lse
}

// refCrossEntropyGrad returns dloss/count·(e^(logits−lse) − (1−s)·onehot − s/V), 0 for ignored rows.
func refCrossEntropyGrad(a graph.CrossEntropy, dloss float64, logits View, targets, lse []float64) []float64 {
	x, columns := logits.Load(), logits.Shape[1]
	v := a.Of(columns)
	count, own := counted(a, targets, logits.Shape[0])
	scale := dloss / float64(count)
	for n, t := range own {
		row := x[n*columns:][:v]
		clear(x[n*columns+v : (n+1)*columns])
		inside := t >= 0 && int(t) < v
		for i, z := range row {
			switch {
			case ignored(a, t):
				row[i] = 0
			case !inside:
				row[i] = math.NaN()
			default:
				row[i] = scale * (math.Exp(z-lse[n]) - a.Smoothing/float64(v))
			}
		}
		if inside && !ignored(a, t) {
			row[int(t)] -= scale * (1 - a.Smoothing)
		}
	}
	return x
}
