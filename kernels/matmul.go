package kernels

import (
	"math"

	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

func init() { register("matmul", refMatMul) }

// refMatMul: y = act(op(a)·op(b) + bias) + residual, or (op(a)·op(b)) ∘ act'(pre) + residual, summed over k
// in ascending order.
func refMatMul(c *Call) {
	a := c.Attrs.(graph.MatMul)
	x, w := c.In[0].Load(), c.In[1].Load()
	if a.Blocks != [2]int{} {
		w = fromBlocks(w, a.Blocks[0], a.Blocks[1])
	}
	s, shape, err := a.Sizes(c.In[0].Shape, c.In[1].Shape)
	if err != nil {
		panic(err) // the graph's shape rule let it through
	}
	var bias, pre, residual []float64
	rest := c.In[2:]
	take := func(want bool) (v []float64) {
		if want {
			v, rest = rest[0].Load(), rest[1:]
		}
		return v
	}
	bias, pre, residual = take(a.Bias), take(a.ActGrad != ""), take(a.Residual)
	offA, offB := batchOffsets(c, s, shape)
	y, kept := make([]float64, s.Batch*s.M*s.N), make([]float64, s.Batch*s.M*s.N)
	for p := range y {
		b, i, j := p/(s.M*s.N), p/s.N%s.M, p%s.N
		var sum float64
		for k := range s.K {
			ia, ib := i*s.K+k, k*s.N+j
			if a.TransA {
				ia = k*s.M + i
			}
			if a.TransB {
				ib = j*s.K + k
			}
			sum += x[offA[b]+ia] * w[offB[b]+ib]
		}
		if bias != nil {
			sum += bias[j]
		}
		kept[p] = sum
		if a.Slope {
			kept[p] = activateGrad(a.Act, sum)
		}
		y[p] = activate(a.Act, sum)
		if pre != nil {
			y[p] *= activateGrad(a.ActGrad, pre[p])
		}
		if residual != nil {
			y[p] += residual[p]
		}
	}
	c.Out[0].Store(y)
	if a.KeepPre {
		c.Out[1].Store(kept)
	}
}

// batchOffsets returns where each product's factors start, following broadcast leading dimensions.
func batchOffsets(c *Call, s graph.MatMulSizes, shape tensor.Shape) (a, b []int) {
	if s.Batch == 1 {
		return []int{0}, []int{0}
	}
	lead := shape[:len(shape)-2]
	for i := range s.Batch {
		a = append(a, batchIndex(c.In[0].Shape, lead, i)*s.M*s.K)
		b = append(b, batchIndex(c.In[1].Shape, lead, i)*s.K*s.N)
	}
	return a, b
}

// batchIndex maps item of the broadcast leading shape to the matrix of a factor.
func batchIndex(shape, lead tensor.Shape, item int) int {
	own := shape[:len(shape)-2]
	st := own.Strides()
	at := 0
	for d := len(lead) - 1; d >= 0; d-- {
		i := item % lead[d]
		item /= lead[d]
		if k := d - (len(lead) - len(own)); k >= 0 && own[k] > 1 {
			at += i * st[k]
		}
	}
	return at
}

// activate and activateGrad are the activations of MatMul's epilogue.
func activate(name string, x float64) float64 {
	switch name {
	case "relu":
		return max(x, 0)
	case "silu":
		return x / (1 + math.Exp(-x))
	case "gelu":
		return x / 2 * math.Erfc(-x/math.Sqrt2)
	case "gelu_tanh":
		return x / 2 * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x)))
	}
	return x
}

func activateGrad(name string, x float64) float64 {
	switch name {
	case "relu":
		if x > 0 {
			return 1
		}
		return 0
	case "silu": // σ + x·σ·(1−σ)
		s := 1 / (1 + math.Exp(-x))
		return s + x*s*(1-s)
	case "gelu": // Φ(x) + x·φ(x)
		return math.Erfc(-x/math.Sqrt2)/2 + x*math.Exp(-x*x/2)/math.Sqrt(2*math.Pi)
	case "gelu_tanh": // (1+t)/2 + x/2·(1−t²)·√(2/π)·(1 + 3·0.044715·x²)
		k := math.Sqrt(2 / math.Pi)
		t := math.Tanh(k * (x + 0.044715*x*x*x))
		return (1+t)/2 + x/2*(1-t*t)*k*(1+3*0.044715*x*x)
	case "slope":
		return x
	}
	return 1
}
