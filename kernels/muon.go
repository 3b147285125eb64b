package kernels

import (
	"math"

	"ringo/runtime/graph"
)

// The quintic Newton–Schulz iteration of Jordan, "Muon: an optimizer for hidden layers in neural networks" (2024):
// φ(x) = a·x + b·x³ + c·x⁵ takes every singular value of (0,1] into about [0.7, 1.2] within five steps; the
// coefficients maximise the slope at 0.
const (
	muonA, muonB, muonC = 3.4445, -4.7750, 2.0315
	muonSteps           = 5
	muonEps             = 1e-7 // added to ‖u‖
)

func init() { register("muon", refMuon) }

// muonScale is √max(1, out/in).
func muonScale(a graph.Muon, rows, cols int) float64 {
	out, in := float64(rows), float64(cols)
	if a.Transposed {
		out, in = in, out
	}
	return math.Sqrt(math.Max(1, out/in))
}

// refMuon: mom = μ·mom + g; u = nesterov ? g + μ·mom : mom; p = (1 − lr·wd)·p − lr·scale·orthogonalised(u).
func refMuon(c *Call) {
	a := c.Attrs.(graph.Muon)
	g, h := refGradient(c, 3)
	p, mom := c.In[0].Load(), c.In[2].Load()
	rows, cols := c.In[0].Shape[0], c.In[0].Shape[1]
	for i := range g {
		mom[i] = a.Momentum*mom[i] + g[i]
		if a.Nesterov {
			g[i] += a.Momentum * mom[i]
		} else {
			g[i] = mom[i]
		}
	}
	x := refOrthogonalise(g, rows, cols, a.Steps)
	lr := h[graph.HyperLR]
	for i := range p {
		p[i] = (1-lr*a.WeightDecay)*p[i] - lr*muonScale(a, rows, cols)*x[i]
	}
	c.Out[0].Store(p)
	c.Out[1].Store(mom)
}

// refOrthogonalise returns X ≈ U·Vᵀ for u = U·S·Vᵀ (rows, cols): X = u/(‖u‖ + 1e-7), then
// A = X·Xᵀ, X = a·X + (b·A + c·A²)·X, on the side where A is small.
func refOrthogonalise(u []float64, rows, cols, steps int) []float64 {
	if rows > cols {
		return transpose2(refOrthogonalise(transpose2(u, rows, cols), cols, rows, steps), cols, rows)
	}
	if steps == 0 {
		steps = muonSteps
	}
	var sq float64
	for _, v := range u {
		sq += v * v
	}
	x := make([]float64, len(u))
	for i, v := range u {
		x[i] = v / (math.Sqrt(sq) + muonEps)
	}
	for range steps {
		gram := product(x, transpose2(x, rows, cols), rows, cols, rows)
		b := product(gram, gram, rows, rows, rows)
		for i := range b {
			b[i] = muonB*gram[i] + muonC*b[i]
		}
		for i, v := range product(b, x, rows, rows, cols) {
			x[i] = muonA*x[i] + v
		}
	}
	return x
}

// product returns a (m,k) · b (k,n).
func product(a, b []float64, m, k, n int) []float64 {
	out := make([]float64, m*n)
	for i := range m {
		for l := range k {
			for j := range n {
				out[i*n+j] += a[i*k+l] * b[l*n+j]
			}
		}
	}
	return out
}

// transpose2 returns the transpose of x (rows, cols).
func transpose2(x []float64, rows, cols int) []float64 {
	out := make([]float64, len(x))
	for i := range rows {
		for j := range cols {
			out[j*rows+i] = x[i*cols+j]
		}
	}
	return out
}
