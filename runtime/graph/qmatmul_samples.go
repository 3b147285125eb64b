package graph

import "ringo/runtime/tensor"

// quantized lists the inputs of an integer product: x and w of the given shapes and types, cols columns.
func quantized(a Requant, x, w tensor.Shape, xt, wt tensor.DType, cols int, y tensor.Shape) []SampleIn {
	q := func(shape tensor.Shape, d tensor.DType) SampleIn {
		if d == tensor.U8 {
			return SampleIn{Shape: shape, DType: d, Lo: 0, Hi: 256}
		}
		return SampleIn{Shape: shape, DType: d, Lo: -128, Hi: 128}
	}
	float := func(lo, hi float64, shape ...int) SampleIn {
		return SampleIn{Shape: shape, DType: tensor.F32, Lo: lo, Hi: hi}
	}
	wz := SampleIn{Shape: tensor.Shape{cols}, DType: wt, Max: 1}
	if wt == tensor.U8 { // asymmetric weights as ONNX allows them
		wz = SampleIn{Shape: tensor.Shape{cols}, DType: wt, Max: 256}
	}
	in := []SampleIn{q(x, xt), float(0.01, 0.02), {Shape: tensor.Shape{}, DType: xt, Max: 100}, q(w, wt), float(0.002, 0.02, cols), wz}
	if is8Bit(a.Out) {
		in = append(in, float(0.05, 0.1), SampleIn{Shape: tensor.Shape{}, DType: a.Out, Max: 30})
	}
	if a.Bias {
		in = append(in, SampleIn{Shape: tensor.Shape{cols}, DType: tensor.I32, Lo: -20000, Hi: 20000})
	}
	if a.Residual {
		in = append(in, float(-1, 1, y...))
	}
	return in
}

var requants = []Requant{
	{Out: tensor.I8, Bias: true}, {Out: tensor.U8, Bias: true, Act: "relu"}, {Out: tensor.I8},
	{Out: tensor.F32, Bias: true, Residual: true}, {Out: tensor.I32, Bias: true},
}

func qmatmulSamples() (out []Sample) {
	for i, s := range [][3]int{{1, 1, 1}, {3, 17, 5}, {17, 3, 65}, {33, 65, 17}, {1, 130, 33}, {65, 1, 3}, {64, 96, 160}, {40, 33, 256}} {
		m, n, k := s[0], s[1], s[2]
		for j, types := range [][2]tensor.DType{{tensor.I8, tensor.I8}, {tensor.U8, tensor.I8}, {tensor.U8, tensor.U8}} {
			a := QMatMul{Requant: requants[(i+j)%len(requants)], TransB: (i+j)%2 == 1}
			w := tensor.Shape{k, n}
			if a.TransB {
				w = tensor.Shape{n, k}
			}
			out = append(out, Sample{Attrs: a, In: quantized(a.Requant, tensor.Shape{m, k}, w, types[0], types[1], n, tensor.Shape{m, n})})
		}
	}
	a := QMatMul{Requant: Requant{Out: tensor.I8, Act: "gelu_tanh"}}
	return append(out, Sample{Name: "flatten", Attrs: QMatMul{Requant: requants[3]},
		In: quantized(requants[3], tensor.Shape{2, 5, 40}, tensor.Shape{40, 20}, tensor.I8, tensor.I8, 20, tensor.Shape{2, 5, 20})},
		Sample{Name: "gelu", Attrs: a, In: quantized(a.Requant, tensor.Shape{9, 64}, tensor.Shape{64, 20}, tensor.I8, tensor.I8, 20, nil)})
}

func qconvSamples() (out []Sample) {
	for i, c := range convCases() {
		x, w := tensor.Shape(c.x[:]), tensor.Shape(c.w[:])
		for j, types := range [][2]tensor.DType{{tensor.I8, tensor.I8}, {tensor.U8, tensor.I8}, {tensor.U8, tensor.U8}} {
			a := QConv2D{Requant: requants[(i+j)%len(requants)], Conv: c.a, NHWC: (i+j)%3 != 0}
			y, err := c.a.OutShape(x, w)
			if err != nil {
				panic(err)
			}
			in := quantized(a.Requant, layout(a.NHWC, [4]int(x)), w, types[0], types[1], y[1], layout(a.NHWC, y))
			out = append(out, Sample{Name: c.name, Attrs: a, In: in})
		}
	}
	return out
}

func qpoolSamples() (out []Sample) {
	for i, c := range poolCases() {
		for _, nhwc := range []bool{false, true} {
			in := SampleIn{Shape: layout(nhwc, c.x), DType: tensor.I8, Lo: -128, Hi: 128}
			if i%2 == 1 {
				in = SampleIn{Shape: layout(nhwc, c.x), DType: tensor.U8, Lo: 0, Hi: 256}
			}
			out = append(out, Sample{Name: c.name, Attrs: QPool2D{c.a, nhwc}, In: []SampleIn{in}})
		}
	}
	return out
}
