package kernels

import (
	"math"

	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

// unaryRefs holds y = f(x) for every op that maps elements one by one in float64.
var unaryRefs = map[string]func(x float64) float64{
	"neg":        func(x float64) float64 { return -x },
	"abs":        math.Abs,
	"sqrt":       math.Sqrt,
	"rsqrt":      func(x float64) float64 { return 1 / math.Sqrt(x) },
	"exp":        math.Exp,
	"log":        math.Log,
	"relu":       relu,
	"silu":       func(x float64) float64 { return x * sigmoid(x) },
	"tanh":       math.Tanh,
	"sigmoid":    sigmoid,
	"erf":        math.Erf,
	"square":     func(x float64) float64 { return x * x },
	"sign":       sign,
	"floor":      math.Floor,
	"ceil":       math.Ceil,
	"round":      math.RoundToEven,
	"reciprocal": func(x float64) float64 { return 1 / x },
	"softplus":   func(x float64) float64 { return math.Max(x, 0) + math.Log1p(math.Exp(-math.Abs(x))) },
}

// unaryInts holds the ops that integers have; they wrap around.
var unaryInts = map[string]func(x int64) int64{
	"neg":    func(x int64) int64 { return -x },
	"abs":    func(x int64) int64 { return max(x, -x) },
	"relu":   func(x int64) int64 { return max(x, 0) },
	"square": func(x int64) int64 { return x * x },
	"sign":   func(x int64) int64 { return int64(sign(float64(x))) },
}

func init() {
	for name, f := range unaryRefs {
		i := unaryInts[name]
		register(name, func(c *Call) {
			if c.In[0].DType.IsFloat() || i == nil {
				mapFloats(c.Out[0], c.In[0], f)
				return
			}
			x := c.In[0].loadInts()
			for k, v := range x {
				x[k] = i(v)
			}
			c.Out[0].storeInts(x)
		})
	}
	register("copy", func(c *Call) { copy(c.Out[0].Bytes, c.In[0].Bytes) })
	register("not", func(c *Call) {
		for k, v := range c.In[0].Bytes {
			c.Out[0].Bytes[k] = v ^ 1
		}
	})
	register("isnan", func(c *Call) { mapFloats(c.Out[0], c.In[0], func(x float64) float64 { return truth(x != x) }) })
	register("isinf", func(c *Call) {
		mapFloats(c.Out[0], c.In[0], func(x float64) float64 { return truth(math.IsInf(x, 0)) })
	})
	register("gelu", func(c *Call) {
		f := geluErf
		if tanhForm(c) {
			f = geluTanh
		}
		mapFloats(c.Out[0], c.In[0], f)
	})
	register("clip", clipRef)
	register("cast", castRef)
	register("fill", func(c *Call) {
		v, n := c.Attrs.(graph.Fill).Value, c.Out[0].Shape.Size()
		x := make([]float64, n)
		for i := range x {
			x[i] = v
		}
		c.Out[0].Store(x)
	})
}

func mapFloats(out, in View, f func(float64) float64) {
	x := in.Load()
	for k, v := range x {
		x[k] = f(v)
	}
	out.Store(x)
}

func tanhForm(c *Call) bool {
	a, _ := c.Attrs.(graph.Gelu)
	return a.Tanh
}

// NaN passes, so that a broken number is seen at the end.
func relu(x float64) float64 {
	if x < 0 {
		return 0
	}
	return x
}

func sign(x float64) float64 {
	switch {
	case x > 0:
		return 1
	case x < 0:
		return -1
	}
	return x // 0 and NaN
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// σ(x) = 1/(1+e^(−x)), without overflow on either side
func sigmoid(x float64) float64 {
	e := math.Exp(-math.Abs(x))
	if x < 0 {
		return e / (1 + e)
	}
	return 1 / (1 + e)
}

// x·Φ(x) = ½x·erfc(−x/√2)
func geluErf(x float64) float64 { return 0.5 * x * math.Erfc(-x/math.Sqrt2) }

// ½x(1+tanh u) = x·σ(2u), u = √(2/π)(x + 0.044715x³)
func geluTanh(x float64) float64 {
	return x * sigmoid(2*math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x))
}

// y = min(max(x, Lo), Hi): where Lo > Hi, everything is Hi (ONNX Clip). NaN passes.
func clipRef(c *Call) {
	a, _ := c.Attrs.(graph.Clip)
	if c.In[0].DType.IsFloat() {
		mapFloats(c.Out[0], c.In[0], func(x float64) float64 {
			if x < a.Lo {
				x = a.Lo
			}
			if x > a.Hi {
				x = a.Hi
			}
			return x
		})
		return
	}
	x, lo, hi := c.In[0].loadInts(), saturate(a.Lo, tensor.I64), saturate(a.Hi, tensor.I64)
	for k, v := range x {
		x[k] = min(max(v, lo), hi)
	}
	c.Out[0].storeInts(x)
}

// Floats become integers by truncation toward zero, limited to the type's range, NaN to 0; integers become
// narrower integers by wrapping around; everything but 0 becomes true.
func castRef(c *Call) {
	from, to := c.In[0].DType, c.Out[0].DType
	switch {
	case from == to:
		copy(c.Out[0].Bytes, c.In[0].Bytes)
	case from.IsFloat() && !to.IsFloat() && to != tensor.Bool:
		x := c.In[0].Load()
		out := make([]int64, len(x))
		for k, v := range x {
			out[k] = saturate(v, to)
		}
		c.Out[0].storeInts(out)
	case !from.IsFloat() && !to.IsFloat():
		c.Out[0].storeInts(c.In[0].loadInts())
	default:
		c.Out[0].Store(c.In[0].Load())
	}
}

// saturate truncates x toward zero and limits it to the range of integer type d; NaN becomes 0.
func saturate(x float64, d tensor.DType) int64 {
	lo, hi := int64(math.MinInt64), int64(math.MaxInt64)
	switch d {
	case tensor.I8:
		lo, hi = math.MinInt8, math.MaxInt8
	case tensor.U8:
		lo, hi = 0, math.MaxUint8
	case tensor.I32:
		lo, hi = math.MinInt32, math.MaxInt32
	}
	switch {
	case x != x:
		return 0
	case x <= float64(lo):
		return lo
	case x >= float64(hi):
		return hi
	}
	return int64(x)
}

// loadInts returns the elements of an integer or Bool view, exactly.
func (v View) loadInts() []int64 {
	out := make([]int64, v.Shape.Size())
	switch v.DType {
	case tensor.I8:
		for i, x := range tensor.View[int8](v.Bytes)[:len(out)] {
			out[i] = int64(x)
		}
	case tensor.U8, tensor.Bool:
		for i, x := range v.Bytes[:len(out)] {
			out[i] = int64(x)
		}
	case tensor.I32:
		for i, x := range tensor.View[int32](v.Bytes)[:len(out)] {
			out[i] = int64(x)
		}
	case tensor.I64:
		copy(out, tensor.View[int64](v.Bytes))
	default:
		panic("kernels: loadInts of " + v.Type.String())
	}
	return out
}

// storeInts writes integers, wrapping around; Bool becomes 1 for anything but 0.
func (v View) storeInts(x []int64) {
	switch v.DType {
	case tensor.I8:
		out := tensor.View[int8](v.Bytes)
		for i, e := range x {
			out[i] = int8(e)
		}
	case tensor.U8:
		for i, e := range x {
			v.Bytes[i] = uint8(e)
		}
	case tensor.Bool:
		for i, e := range x {
			v.Bytes[i] = uint8(truth(e != 0))
		}
	case tensor.I32:
		out := tensor.View[int32](v.Bytes)
		for i, e := range x {
			out[i] = int32(e)
		}
	case tensor.I64:
		copy(tensor.View[int64](v.Bytes), x)
	default:
		panic("kernels: storeInts of " + v.Type.String())
	}
}
