package kernels

import (
	"math"

	"ringo/runtime/graph"
)

func init() {
	register("softmax", func(c *Call) {
		refAlongAxis(c, func(x, _ []float64) {
			lse := logSumExp(x)
			for i := range x {
				x[i] = math.Exp(x[i] - lse)
			}
		})
	})
	register("log_softmax", func(c *Call) {
		refAlongAxis(c, func(x, _ []float64) {
			lse := logSumExp(x)
			for i := range x {
				x[i] -= lse
			}
		})
	})
	// dx = y·(dy − Σ dy·y)
	register("softmax_grad", func(c *Call) {
		refAlongAxis(c, func(y, dy []float64) {
			var dot float64
			for i := range y {
				dot += y[i] * dy[i]
			}
			for i := range y {
				y[i] *= dy[i] - dot
			}
		})
	})
	// dx = dy − e^y·Σ dy
	register("log_softmax_grad", func(c *Call) {
		refAlongAxis(c, func(y, dy []float64) {
			var sum float64
			for _, d := range dy {
				sum += d
			}
			for i := range y {
				y[i] = dy[i] - math.Exp(y[i])*sum
			}
		})
	})
}

// logSumExp is m + log Σ e^(x−m), m = max x.
func logSumExp(x []float64) float64 {
	m := math.Inf(-1)
	for _, v := range x {
		m = math.Max(m, v)
	}
	if math.IsInf(m, -1) {
		return m
	}
	var sum float64
	for _, v := range x {
		sum += math.Exp(v - m)
	}
	return m + math.Log(sum)
}

// refAlongAxis calls fn on each line of input 0 (and input 1, where there is one) along the attribute's axis;
// fn overwrites its first argument with the line of output 0.
func refAlongAxis(c *Call, fn func(a, b []float64)) {
	s := c.In[0].Shape
	axis, _ := s.Axis(c.Attrs.(graph.Softmax).Axis)
	size, inner := s[axis], s[axis+1:].Size()
	a := c.In[0].Load()
	var b []float64
	if len(c.In) > 1 {
		b = c.In[1].Load()
	}
	la, lb := make([]float64, size), make([]float64, size)
	for line := range s[:axis].Size() * inner {
		at := line/inner*size*inner + line%inner
		for i := range size {
			la[i] = a[at+i*inner]
			if b != nil {
				lb[i] = b[at+i*inner]
			}
		}
		fn(la, lb)
		for i := range size {
			a[at+i*inner] = la[i]
		}
	}
	c.Out[0].Store(a)
}
