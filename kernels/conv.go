package kernels

import "ringo/runtime/graph"

// taps calls fn once for every product of a convolution: indices into y, x and w. Taps that fall into the
// padding are left out.
func taps(a graph.Conv2D, x, w, y []int, fn func(yi, xi, wi int)) {
	a = a.Norm()
	cg, og := x[1]/a.Groups, w[0]/a.Groups
	for i := range y[0] * y[1] * y[2] * y[3] {
		col, row, o, n := i%y[3], i/y[3]%y[2], i/(y[3]*y[2])%y[1], i/(y[3]*y[2]*y[1])
		for t := range cg * w[2] * w[3] {
			q, r, c := t%w[3], t/w[3]%w[2], t/(w[3]*w[2])
			h := row*a.Stride[0] + r*a.Dilation[0] - a.Pad[0]
			v := col*a.Stride[1] + q*a.Dilation[1] - a.Pad[1]
			if h >= 0 && h < x[2] && v >= 0 && v < x[3] {
				fn(i, ((n*x[1]+o/og*cg+c)*x[2]+h)*x[3]+v, o*cg*w[2]*w[3]+t)
			}
		}
	}
}

func init() {
	register("conv2d", func(c *Call) {
		a := c.Attrs.(graph.Conv2D)
		x, w, s := c.In[0].Load(), c.In[1].Load(), c.Out[0].Shape
		y := make([]float64, s.Size())
		if a.Bias {
			bias := c.In[2].Load()
			for i := range y {
				y[i] = bias[i/(s[2]*s[3])%s[1]]
			}
		}
		taps(a, c.In[0].Shape, c.In[1].Shape, s, func(yi, xi, wi int) { y[yi] += x[xi] * w[wi] })
		if a.Act == "relu" {
			for i, v := range y {
				if v < 0 {
					y[i] = 0
				}
			}
		}
		c.Out[0].Store(y)
	})
	register("conv2d_dx", func(c *Call) {
		dy, w, dx := c.In[0].Load(), c.In[1].Load(), make([]float64, c.Out[0].Shape.Size())
		taps(c.Attrs.(graph.Conv2DGrad).Conv, c.Out[0].Shape, c.In[1].Shape, c.In[0].Shape,
			func(yi, xi, wi int) { dx[xi] += dy[yi] * w[wi] })
		c.Out[0].Store(dx)
	})
	register("conv2d_dw", func(c *Call) {
		x, dy, dw := c.In[0].Load(), c.In[1].Load(), make([]float64, c.Out[0].Shape.Size())
		taps(c.Attrs.(graph.Conv2DGrad).Conv, c.In[0].Shape, c.Out[0].Shape, c.In[1].Shape,
			func(yi, xi, wi int) { dw[wi] += dy[yi] * x[xi] })
		c.Out[0].Store(dw)
	})
	register("conv2d_db", func(c *Call) {
		s := c.In[0].Shape
		db := make([]float64, s[1])
		for i, v := range c.In[0].Load() {
			db[i/(s[2]*s[3])%s[1]] += v
		}
		c.Out[0].Store(db)
	})
}
