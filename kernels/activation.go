package kernels

import "math"

func init() {
	register("relu_grad", func(c *Call) {
		zipFloats(c, func(y, dy float64) float64 {
			if y > 0 {
				return dy
			}
			return 0
		})
	})
	register("gelu_grad", func(c *Call) {
		d := geluErfGrad
		if tanhForm(c) {
			d = geluTanhGrad
		}
		zipFloats(c, func(x, dy float64) float64 { return d(x) * dy })
	})
	register("silu_grad", func(c *Call) {
		zipFloats(c, func(x, dy float64) float64 { return siluGrad(x) * dy })
	})
	register("swiglu", swigluRef)
	register("swiglu_grad", swigluGradRef)
}

// zipFloats stores f of two inputs of one shape.
func zipFloats(c *Call, f func(a, b float64) float64) {
	a, b := c.In[0].Load(), c.In[1].Load()
	for i := range a {
		a[i] = f(a[i], b[i])
	}
	c.Out[0].Store(a)
}

// d x·Φ(x) = Φ(x) + x·φ(x)
func geluErfGrad(x float64) float64 {
	return 0.5*math.Erfc(-x/math.Sqrt2) + x*math.Exp(-x*x/2)/math.Sqrt(2*math.Pi)
}

// d x·σ(2u) = σ + x·σ(1−σ)·2u', u' = √(2/π)(1 + 3·0.044715x²)
func geluTanhGrad(x float64) float64 {
	k := math.Sqrt(2 / math.Pi)
	s := sigmoid(2 * k * (x + 0.044715*x*x*x))
	return s + x*s*(1-s)*2*k*(1+3*0.044715*x*x)
}

// d x·σ(x) = σ + x·σ(1−σ)
func siluGrad(x float64) float64 {
	s := sigmoid(x)
	return s + x*s*(1-s)
}

// (…, gate|up) → silu(gate)·up
func swigluRef(c *Call) {
	x := c.In[0].Load()
	f := c.Out[0].Shape[len(c.Out[0].Shape)-1]
	y := make([]float64, c.Out[0].Shape.Size())
	for i := range y {
		gate, up := x[i/f*2*f+i%f], x[i/f*2*f+f+i%f]
		y[i] = gate * sigmoid(gate) * up
	}
	c.Out[0].Store(y)
}

// (…, gate|up), dy → (…, silu'(gate)·up·dy | silu(gate)·dy)
func swigluGradRef(c *Call) {
	x, dy := c.In[0].Load(), c.In[1].Load()
	f := c.In[1].Shape[len(c.In[1].Shape)-1]
	for i, d := range dy {
		at := i/f*2*f + i%f
		gate, up := x[at], x[at+f]
		x[at], x[at+f] = siluGrad(gate)*up*d, gate*sigmoid(gate)*d
	}
	c.Out[0].Store(x)
}
