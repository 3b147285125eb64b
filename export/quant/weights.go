package quant

import (
	"fmt"
	"math"

	"ringo/export"
	"ringo/runtime/tensor"
)

// channelOf maps element i of a weight to its output channel.
func channelOf(shape tensor.Shape, axis, i int) int {
	return i / shape[axis+1:].Size() % shape[axis]
}

// channelScales returns per output channel the scale that takes its largest magnitude to 127; channels of zeros get 1.
func channelScales(w *tensor.Tensor, axis int) []float32 {
	scales := make([]float32, w.Shape[axis])
	for i, v := range tensor.Data[float32](w) {
		k := channelOf(w.Shape, axis, i)
		scales[k] = max(scales[k], float32(math.Abs(float64(v))))
	}
	for k := range scales {
		if scales[k] /= 127; scales[k] < math.SmallestNonzeroFloat32*(1<<24) {
			scales[k] = 1
		}
	}
	return scales
}

// roundWeight is w/scale per channel, to the nearest of −127…127.
func roundWeight(w *tensor.Tensor, axis int, scales []float32) *tensor.Tensor {
	q := tensor.New(tensor.I8, w.Shape...)
	out := tensor.Data[int8](q)
	for i, v := range tensor.Data[float32](w) {
		out[i] = int8(nearest(float64(v) / float64(scales[channelOf(w.Shape, axis, i)])))
	}
	return q
}

func nearest(v float64) float64 { return min(max(math.RoundToEven(v), -127), 127) }

// quantizeLayer fills in the tensors of a layer whose input range stands. gptq, where given, rounds the weight.
func quantizeLayer(l *Layer, w export.Weights, shape tensor.Shape, d tensor.DType, out export.Tensors, gptq func(w *tensor.Tensor, axis int, scales []float32) (*tensor.Tensor, error)) error {
	weight := tensor.New(tensor.F32, shape...)
	if err := w.Read(l.Weight, weight.Bytes()); err != nil {
		return err
	}
	if err := export.Finite(l.Weight, weight.Bytes()); err != nil {
		return err
	}
	scales := channelScales(weight, l.Axis)
	var bias []float32
	if l.Bias != "" && l.Integer {
		t := tensor.New(tensor.F32, len(scales))
		if err := w.Read(l.Bias, t.Bytes()); err != nil {
			return err
		}
		if err := export.Finite(l.Bias, t.Bytes()); err != nil {
			return err
		}
		bias = tensor.Data[float32](t)
		roomForBias(scales, bias, l.In, d)
	}
	q := roundWeight(weight, l.Axis, scales)
	if gptq != nil {
		rounded, err := gptq(weight, l.Axis, scales)
		if err != nil {
			return fmt.Errorf("int8: layer %q: %w", l.Weight, err)
		}
		if rounded != nil {
			q = rounded
		}
	}
	out[int8Name(l.Weight)], out[scaleName(l.Weight)] = q, tensor.Of(tensor.Shape{len(scales)}, scales...)
	if bias == nil {
		return nil
	}
	units := tensor.Data[float32](biasScale(l.In, d, out[scaleName(l.Weight)]))
	rounded := tensor.New(tensor.I32, len(bias))
	for i, b := range bias {
		tensor.Data[int32](rounded)[i] = int32(math.RoundToEven(float64(b) / float64(units[i])))
	}
	out[int32Name(l.Bias)] = rounded
	return nil
}

// roomForBias raises the scales of channels whose bias would take more than 30 bits in units of the sums, so that sums
// keep room: a channel of tiny weights and a large bias.
func roomForBias(scales, bias []float32, in Range, d tensor.DType) {
	xs, _ := in.Quantizer(d)
	for i, b := range bias {
		if least := float32(math.Abs(float64(b)) / float64(xs) / (1 << 30)); scales[i] < least {
			scales[i] = least
		}
	}
}
