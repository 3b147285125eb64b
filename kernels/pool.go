package kernels

import (
	"math"

	"ringo/runtime/graph"
)

// windows calls fn once for every tap of every pooling window that lies inside x (N,C,H,W): y's index, the
// plane's, the tap's index within its plane, and the window's divisor for averages.
func windows(a graph.Pool2D, x, y []int, fn func(yi, plane, at int, div float64)) {
	a = a.Norm()
	padH, padW := x[2]+a.Pad[2], x[3]+a.Pad[3]
	for i := range y[0] * y[1] * y[2] * y[3] {
		top := i/y[3]%y[2]*a.Stride[0] - a.Pad[0]
		left := i%y[3]*a.Stride[1] - a.Pad[1]
		var in []int
		padded := 0
		for t := range a.Kernel[0] * a.Kernel[1] {
			h, w := top+t/a.Kernel[1]*a.Dilation[0], left+t%a.Kernel[1]*a.Dilation[1]
			if h < padH && w < padW { // what Ceil adds beyond the padding never counts
				padded++
			}
			if h >= 0 && h < x[2] && w >= 0 && w < x[3] {
				in = append(in, h*x[3]+w)
			}
		}
		div := float64(len(in))
		if a.CountPad {
			div = float64(padded)
		}
		for _, at := range in {
			fn(i, i/(y[2]*y[3]), at, div)
		}
	}
}

func init() {
	// A window without a pixel, which only padding beyond the kernel's size makes, yields −∞ and index −1.
	register("maxpool2d", func(c *Call) {
		s := c.In[0].Shape
		x, y := c.In[0].Load(), make([]float64, c.Out[0].Shape.Size())
		idx := make([]float64, len(y))
		for i := range y {
			y[i], idx[i] = math.Inf(-1), -1
		}
		windows(c.Attrs.(graph.Pool2D), s, c.Out[0].Shape, func(yi, plane, at int, _ float64) {
			v := x[plane*s[2]*s[3]+at]
			if v > y[yi] || idx[yi] < 0 || (v != v && y[yi] == y[yi]) {
				y[yi], idx[yi] = v, float64(at)
			}
		})
		c.Out[0].Store(y)
		c.Out[1].Store(idx)
	})
	register("maxpool2d_grad", func(c *Call) {
		s, y := c.Out[0].Shape, c.In[0].Shape
		dy, idx, dx := c.In[0].Load(), c.In[1].Load(), make([]float64, s.Size())
		for i, d := range dy {
			if idx[i] >= 0 {
				dx[i/(y[2]*y[3])*s[2]*s[3]+int(idx[i])] += d
			}
		}
		c.Out[0].Store(dx)
	})
	// A window without a pixel yields 0.
	register("avgpool2d", func(c *Call) {
		s := c.In[0].Shape
		x, y := c.In[0].Load(), make([]float64, c.Out[0].Shape.Size())
		windows(c.Attrs.(graph.Pool2D), s, c.Out[0].Shape, func(yi, plane, at int, div float64) {
			y[yi] += x[plane*s[2]*s[3]+at] / div
		})
		c.Out[0].Store(y)
	})
	register("avgpool2d_grad", func(c *Call) {
		s := c.Out[0].Shape
		dy, dx := c.In[0].Load(), make([]float64, s.Size())
		windows(c.Attrs.(graph.Pool2DGrad).Pool, s, c.In[0].Shape, func(yi, plane, at int, div float64) {
			dx[plane*s[2]*s[3]+at] += dy[yi] / div
		})
		c.Out[0].Store(dx)
	})
}
