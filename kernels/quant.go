package kernels

import (
	"math"

	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

// These references define the exact result of quantization and of integer products. Sums are int32 modulo 2³²;
// everything else is float32, each operation rounded once (the conversions keep Go from fusing them).

func init() {
	register("quantize_linear", refQuantize)
	register("dequantize_linear", refDequantize)
	register("dynamic_quantize", refDynamicQuantize)
	register("fake_quantize", refFakeQuantize)
	register("fake_quantize_grad", refFakeQuantizeGrad)
	register("qembedding", refQEmbedding)
}

// load32 returns the elements as float32.
func (v View) load32() []float32 {
	out := make([]float32, v.Shape.Size())
	for i, x := range v.Load() {
		out[i] = float32(x)
	}
	return out
}

// loadInt32 returns the elements of an integer view.
func (v View) loadInt32() []int32 {
	out := make([]int32, v.Shape.Size())
	for i, x := range v.Load() {
		out[i] = int32(x)
	}
	return out
}

// limits returns the smallest and largest number of an 8-bit type.
func limits(d tensor.DType) (lo, hi float32) {
	if d == tensor.U8 {
		return 0, 255
	}
	return -128, 127
}

// roundTo is saturate(round(v) + zero): v is cut first, so that infinities saturate; NaN gives lo.
func roundTo(v float32, zero int32, d tensor.DType) float32 {
	lo, hi := limits(d)
	z := float32(zero)
	if !(v > lo-z) {
		v = lo - z
	}
	if v > hi-z {
		v = hi - z
	}
	return float32(math.RoundToEven(float64(v))) + z
}

func store32(v View, x []float32) {
	out := make([]float64, len(x))
	for i, f := range x {
		out[i] = float64(f)
	}
	v.Store(out)
}

func refQuantize(c *Call) {
	a, _ := c.Attrs.(graph.Quantize)
	x, scale, zero := c.In[0].load32(), c.In[1].load32(), c.In[2].loadInt32()
	for i, v := range x {
		k := a.ScaleIndex(c.In[0].Shape, c.In[1].Shape, i)
		x[i] = roundTo(v/scale[k], zero[k], c.Out[0].DType)
	}
	store32(c.Out[0], x)
}

// The difference of I32 numbers is taken modulo 2³².
func refDequantize(c *Call) {
	a, _ := c.Attrs.(graph.Quantize)
	q, scale, zero := c.In[0].loadInt32(), c.In[1].load32(), c.In[2].loadInt32()
	y := make([]float32, len(q))
	for i, v := range q {
		k := a.ScaleIndex(c.In[0].Shape, c.In[1].Shape, i)
		y[i] = float32(v-zero[k]) * scale[k]
	}
	store32(c.Out[0], y)
}

// scale = (max(0, max x) − min(0, min x))/255, zero = saturate(round(−min/scale)); all zeros keep scale 0 as ONNX does.
func refDynamicQuantize(c *Call) {
	x := c.In[0].load32()
	var lo, hi float32
	for _, v := range x {
		lo, hi = min(lo, v), max(hi, v)
	}
	scale, zero := float32(hi-lo)/255, int32(0)
	if scale > 0 {
		zero = int32(roundTo(-lo/scale, 0, tensor.U8))
	}
	for i, v := range x {
		q := float32(0)
		if scale > 0 {
			q = v / scale
		}
		x[i] = roundTo(q, zero, tensor.U8)
	}
	store32(c.Out[0], x)
	store32(c.Out[1], []float32{scale})
	store32(c.Out[2], []float32{float32(zero)})
}

// fakeRange returns scale, zero and the cuts of a fake quantizer with range lo…hi.
func fakeRange(a graph.FakeQuantize, lo, hi float64) (scale, zero, least, most float64) {
	if a.Symmetric {
		return hi / 127, 0, -127, 127
	}
	lo, hi = min(lo, 0), max(hi, 0)
	scale = (hi - lo) / 255
	if scale > 0 {
		zero = math.RoundToEven(-128 - lo/scale)
	}
	return scale, zero, -128, 127
}

func refFakeQuantize(c *Call) {
	a, _ := c.Attrs.(graph.FakeQuantize)
	x, lo, hi := c.In[0].Load(), c.In[1].Load(), c.In[2].Load()
	for i, v := range x {
		k := graph.Quantize{Axis: a.Axis}.ScaleIndex(c.In[0].Shape, c.In[1].Shape, i)
		scale, zero, least, most := fakeRange(a, lo[k], hi[k])
		if scale > 0 { // an empty range changes nothing: training has seen no data yet
			x[i] = (min(max(math.RoundToEven(v/scale)+zero, least), most) - zero) * scale
		}
	}
	c.Out[0].Store(x)
}

func refFakeQuantizeGrad(c *Call) {
	a, _ := c.Attrs.(graph.FakeQuantize)
	x, lo, hi, dy := c.In[0].Load(), c.In[1].Load(), c.In[2].Load(), c.In[3].Load()
	for i, v := range x {
		k := graph.Quantize{Axis: a.Axis}.ScaleIndex(c.In[0].Shape, c.In[1].Shape, i)
		least, most := min(lo[k], 0), max(hi[k], 0)
		if a.Symmetric {
			least = -most
		}
		if most > least && (v < least || v > most) {
			dy[i] = 0
		}
	}
	c.Out[0].Store(dy)
}

func refQEmbedding(c *Call) {
	table, scale, zero := c.In[0].loadInt32(), c.In[1].load32(), c.In[2].loadInt32()
	width := c.In[0].Shape[1]
	var y []float32
	for _, id := range c.In[3].loadInts() {
		k := graph.Quantize{}.ScaleIndex(c.In[0].Shape, c.In[1].Shape, int(id)*width)
		for _, q := range table[int(id)*width : int(id+1)*width] {
			y = append(y, float32(q-zero[k])*scale[k])
		}
	}
	store32(c.Out[0], y)
}
