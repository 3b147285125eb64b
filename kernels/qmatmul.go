package kernels

import (
	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

func init() {
	register("qmatmul", refQMatMul)
	register("qconv2d", refQConv2D)
	register("qmaxpool2d", refQMaxPool2D)
}

// minus returns x − zero, element i with the zero point at place(i).
func minus(x View, zero View, place func(i int) int) []int32 {
	out, z := x.loadInt32(), zero.loadInt32()
	for i := range out {
		k := 0
		if len(z) > 1 {
			k = place(i)
		}
		out[i] -= z[k]
	}
	return out
}

// requantize turns sums into the result; column gives the column or channel of element i.
func requantize(c *Call, a graph.Requant, sums []int32, column func(i int) int) {
	ys, yz, bias, residual := graph.Tail(a, c.In)
	biasType := tensor.Invalid
	var ibias []int32
	var fbias, res []float32
	if bias != nil {
		biasType = bias.DType
		if biasType == tensor.I32 {
			ibias = bias.loadInt32()
		} else {
			fbias = bias.load32()
		}
	}
	if residual != nil {
		res = residual.load32()
	}
	xs, ws := c.In[1].load32()[0], c.In[4].load32()
	scaleY, zeroY := float32(1), int32(0)
	if ys != nil {
		scaleY, zeroY = ys.load32()[0], yz.loadInt32()[0]
	}
	inFloat := a.InFloat(biasType)
	out := make([]float64, len(sums))
	for i, sum := range sums {
		j := column(i)
		if ibias != nil {
			sum += ibias[j]
		}
		if a.Out == tensor.I32 {
			out[i] = float64(sum)
			continue
		}
		s := float32(xs * ws[min(j, len(ws)-1)])
		if !inFloat {
			q := roundTo(float32(float32(sum)*float32(s/scaleY)), zeroY, a.Out)
			if a.Act == "relu" {
				q = max(q, float32(zeroY))
			}
			out[i] = float64(q)
			continue
		}
		v := float32(float32(sum) * s)
		if fbias != nil {
			v = float32(v + fbias[j])
		}
		v = float32(activate(a.Act, float64(v)))
		if res != nil {
			v = float32(v + res[i])
		}
		if a.Out != tensor.F32 {
			v = roundTo(float32(v/scaleY), zeroY, a.Out)
		}
		out[i] = float64(v)
	}
	c.Out[0].Store(out)
}

func refQMatMul(c *Call) {
	a := c.Attrs.(graph.QMatMul)
	s, _, err := graph.MatMul{TransB: a.TransB}.Sizes(c.In[0].Shape, c.In[3].Shape)
	if err != nil {
		panic(err) // the graph's shape rule let it through
	}
	kStep, nStep := s.N, 1
	if a.TransB {
		kStep, nStep = 1, s.K
	}
	x := minus(c.In[0], c.In[2], nil)
	w := minus(c.In[3], c.In[5], func(i int) int { return i / nStep % s.N })
	sums := make([]int32, s.M*s.N)
	for i := range sums {
		row, col := x[i/s.N*s.K:], w[i%s.N*nStep:]
		for k := range s.K {
			sums[i] += row[k] * col[k*kStep]
		}
	}
	requantize(c, a.Requant, sums, func(i int) int { return i % s.N })
}

// nhwcIndex maps a position in (N,C,H,W) to that in (N,H,W,C).
func nhwcIndex(s [4]int, i int) int {
	w, h, ch, n := i%s[3], i/s[3]%s[2], i/(s[3]*s[2])%s[1], i/(s[3]*s[2]*s[1])
	return ((n*s[2]+h)*s[3]+w)*s[1] + ch
}

func refQConv2D(c *Call) {
	a := c.Attrs.(graph.QConv2D)
	xs, ys, err := a.Shapes(c.In[0].Shape, c.In[3].Shape)
	if err != nil {
		panic(err)
	}
	at := func(s [4]int, i int) int {
		if a.NHWC {
			return nhwcIndex(s, i)
		}
		return i
	}
	x := minus(c.In[0], c.In[2], nil)
	wShape := c.In[3].Shape
	w := minus(c.In[3], c.In[5], func(i int) int { return i / wShape[1:].Size() })
	sums := make([]int32, tensor.Shape(ys[:]).Size())
	taps(a.Conv, xs[:], wShape, ys[:], func(yi, xi, wi int) { sums[at(ys, yi)] += x[at(xs, xi)] * w[wi] })
	requantize(c, a.Requant, sums, func(i int) int {
		if a.NHWC {
			return i % ys[1]
		}
		return i / (ys[2] * ys[3]) % ys[1]
	})
}

func refQMaxPool2D(c *Call) {
	a := c.Attrs.(graph.QPool2D)
	at := func(s [4]int, i int) int {
		if a.NHWC {
			return nhwcIndex(s, i)
		}
		return i
	}
	s := [4]int(c.In[0].Shape)
	if a.NHWC {
		s = [4]int{s[0], s[3], s[1], s[2]}
	}
	ys, err := a.Pool.OutShape(s[:])
	if err != nil {
		panic(err)
	}
	x := c.In[0].Load()
	lo, _ := limits(c.In[0].DType)
	y := make([]float64, c.Out[0].Shape.Size())
	for i := range y {
		y[i] = float64(lo)
	}
	windows(a.Pool, s[:], ys[:], func(yi, plane, px int, _ float64) {
		k := at(ys, yi)
		y[k] = max(y[k], x[at(s, plane*s[2]*s[3]+px)])
	})
	c.Out[0].Store(y)
}
