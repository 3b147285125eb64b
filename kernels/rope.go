package kernels

import (
	"math"

	"ringo/runtime/graph"
)

// ropeFrequency returns Base^(−2i/D), the angle per position of pair i (RoFormer, section 3.2.2).
func ropeFrequency(r graph.Rope, i, dim int) float64 {
	return math.Pow(r.Period(), -2*float64(i)/float64(dim))
}

// ropeRef: (a, b) → (a·cos θ − b·sin θ, a·sin θ + b·cos θ) with θ = position·Base^(−2i/D), negated by Inverse.
func ropeRef(c *Call) {
	r := c.Attrs.(graph.Rope)
	b, t, turn, all, dim, err := r.Sizes(c.In[0].Shape)
	if err != nil {
		panic("rope: " + err.Error())
	}
	x := c.In[0].Load()
	var pos []float64
	if len(c.In) > 1 {
		pos = c.In[1].Load()
	}
	for row := range b * t {
		p := float64(row % t)
		switch {
		case len(c.In) > 1 && len(c.In[1].Shape) == 0:
			p += pos[0]
		case len(c.In) > 1:
			p = pos[row]
		}
		if r.Inverse {
			p = -p
		}
		for h := range turn {
			head := x[(row*all+h)*dim:][:dim]
			for i := range dim / 2 {
				sin, cos := math.Sincos(p * ropeFrequency(r, i, dim))
				u, v := &head[i], &head[i+dim/2]
				if r.Interleaved {
					u, v = &head[2*i], &head[2*i+1]
				}
				*u, *v = *u*cos-*v*sin, *u*sin+*v*cos
			}
		}
	}
	c.Out[0].Store(x)
}

func init() { register("rope", ropeRef) }
