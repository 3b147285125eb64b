package quant

import (
	"fmt"
	"math"
	"runtime"
	"slices"
	"sync"

	"ringo/export"
	"ringo/runtime/tensor"
)

// perChannel calls f on the elements of a weight in stretches, several at once: n elements from `at` on, whose output
// channels are c, c+step, c+2·step, …
func perChannel(shape tensor.Shape, axis int, f func(at, n, c, step int)) {
	outs, inner := shape[axis], shape[axis+1:].Size()
	if inner > 1 {
		split(shape[:axis].Size()*outs, func(i int) { f(i*inner, inner, i%outs, 0) })
	} else {
		split(shape[:axis].Size(), func(i int) { f(i*outs, outs, 0, 1) })
	}
}

// split calls f for 0…n−1 from as many goroutines as there are CPUs.
func split(n int, f func(i int)) {
	parts := min(n, runtime.GOMAXPROCS(0))
	var wait sync.WaitGroup
	for p := range parts {
		wait.Go(func() {
			for i := p * n / parts; i < (p+1)*n/parts; i++ {
				f(i)
			}
		})
	}
	wait.Wait()
}

// magnitudes returns the largest magnitude in every slice of w along axis.
func magnitudes(w *tensor.Tensor, axis int) []float32 {
	most, x := make([]float32, w.Shape[axis]), tensor.Data[float32](w)
	if inner := w.Shape[axis+1:].Size(); inner > 1 {
		for i := 0; len(x) > 0; i, x = i+1, x[inner:] {
			m := &most[i%len(most)]
			for _, v := range x[:inner] {
				*m = max(*m, abs(v))
			}
		}
		return most
	}
	for ; len(x) > 0; x = x[len(most):] {
		for i, v := range x[:len(most)] {
			if v = abs(v); v > most[i] {
				most[i] = v
			}
		}
	}
	return most
}

func abs(v float32) float32 { return math.Float32frombits(math.Float32bits(v) &^ (1 << 31)) }

// channelScales returns per output channel the scale that takes its largest magnitude to 127; channels of zeros get 1.
func channelScales(w *tensor.Tensor, axis int) []float32 {
	scales := magnitudes(w, axis)
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
	src, dst := tensor.Data[float32](w), tensor.Data[int8](q)
	perChannel(w.Shape, axis, func(at, n, c, step int) {
		out := dst[at : at+n]
		for i, v := range src[at : at+n] {
			out[i] = int8(nearest(float64(v) / float64(scales[c+i*step])))
		}
	})
	return q
}

func nearest(v float64) float64 { return min(max(math.RoundToEven(v), -127), 127) }

// scaleChannels returns a copy of t with slice k along axis times, or divided by, scales[k].
func scaleChannels(t *tensor.Tensor, axis int, scales []float64, divide bool) *tensor.Tensor {
	out := t.Clone()
	multiplyChannels(out, axis, scales, divide)
	return out
}

func multiplyChannels(t *tensor.Tensor, axis int, scales []float64, divide bool) {
	if divide {
		scales = slices.Clone(scales)
		for i, s := range scales {
			scales[i] = 1 / s
		}
	}
	x := tensor.Data[float32](t)
	perChannel(t.Shape, axis, func(at, n, c, step int) {
		for i := range n {
			x[at+i] = float32(float64(x[at+i]) * scales[c+i*step])
		}
	})
}

// rounder makes a layer's tensors for any range of its input.
type rounder struct {
	axis   int
	weight *tensor.Tensor
	bias   []float32 // nil where it stays float
	plain  []float32 // scales of the weight's channels
	round  func(w *tensor.Tensor, axis int, scales []float32) (*tensor.Tensor, error)
	scales []float32 // with which q was made
	q      *tensor.Tensor
}

// newRounder reads a layer's weight and bias. round, where given, rounds the weight; where it returns nil the weight
// rounds to nearest.
func newRounder(l *Layer, w export.Weights, shape tensor.Shape, round func(w *tensor.Tensor, axis int, scales []float32) (*tensor.Tensor, error)) (*rounder, error) {
	weight := tensor.New(tensor.F32, shape...)
	if err := export.Checked(w).Read(l.Weight, weight.Bytes()); err != nil {
		return nil, err
	}
	r := &rounder{axis: l.Axis, weight: weight, plain: channelScales(weight, l.Axis), round: round}
	if l.Bias != "" && l.Integer {
		t := tensor.New(tensor.F32, len(r.plain))
		if err := export.Checked(w).Read(l.Bias, t.Bytes()); err != nil {
			return nil, err
		}
		r.bias = tensor.Data[float32](t)
	}
	return r, nil
}

// quantize writes the tensors of a layer whose input range stands.
func (r *rounder) quantize(l *Layer, d tensor.DType, out export.Tensors) error {
	scales := slices.Clone(r.plain)
	roomForBias(scales, r.bias, l.In, d)
	if !slices.Equal(scales, r.scales) {
		var err error
		if r.scales = scales; r.round != nil {
			if r.q, err = r.round(r.weight, r.axis, scales); err != nil {
				return fmt.Errorf("int8: layer %q: %w", l.Weight, err)
			}
		}
		if r.round == nil || r.q == nil {
			r.q = roundWeight(r.weight, r.axis, scales)
		}
	}
	out[int8Name(l.Weight)], out[scaleName(l.Weight)] = r.q, tensor.Of(tensor.Shape{len(scales)}, scales...)
	if r.bias == nil {
		return nil
	}
	units := tensor.Data[float32](biasScale(l.In, d, out[scaleName(l.Weight)]))
	rounded := tensor.New(tensor.I32, len(r.bias))
	for i, b := range r.bias {
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
