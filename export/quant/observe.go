package quant

import (
	"fmt"
	"math"
	"slices"

	"ringo/runtime/tensor"
)

// sampleElements bounds the values of a layer's input that are kept to measure its error with; GPTQ, which estimates second
// moments from them, wants more.
const (
	sampleElements = 1 << 19
	gptqElements   = 1 << 22
)

// observed is what calibration saw of one activation. least and most are along the last axis for the inputs of matrix
// products, one number for images.
type observed struct {
	histogram
	least, most []float32
	scale       []float32      // what values are multiplied by per channel before they are counted; nil: nothing
	sample      *tensor.Tensor // whole samples, the first that were met
	room        int            // elements that sample may still take
}

func newObserved(o Options) *observed {
	if o.GPTQ {
		return &observed{room: gptqElements}
	}
	return &observed{room: sampleElements}
}

// channels is the number of channels whose limits are kept apart.
func channels(l Layer, t *tensor.Tensor) int {
	if l.Op != "matmul" {
		return 1
	}
	return t.Shape[len(t.Shape)-1]
}

// limit widens the limits by the values v of t. NaN and infinities are an error.
func (x *observed) limit(v []float32, t *tensor.Tensor, l Layer) error {
	if x.least == nil {
		x.least, x.most = make([]float32, channels(l, t)), make([]float32, channels(l, t))
		for i := range x.least {
			x.least[i], x.most[i] = float32(math.Inf(1)), float32(math.Inf(-1))
		}
	}
	x.keep(v, t)
	values, bad := v, float32(0) // f − f is 0 for a number, else NaN
	if len(x.least) == 1 {
		lo, hi := x.least[0], x.most[0]
		for _, f := range v {
			bad += f - f
			lo, hi = min(lo, f), max(hi, f)
		}
		x.least[0], x.most[0] = lo, hi
	} else {
		for k := len(x.least); len(v) >= k; v = v[k:] {
			bad += widen(x.least, x.most, v[:k])
		}
	}
	if bad != 0 {
		at := slices.IndexFunc(values, func(f float32) bool { return f-f != 0 })
		return fmt.Errorf("int8: layer %q meets %v on calibration data: the model is broken; export an earlier checkpoint", l.Weight, values[at])
	}
	x.span()
	return nil
}

func widen(least, most, row []float32) (bad float32) {
	least, most = least[:len(row)], most[:len(row)]
	for i, f := range row {
		bad += f - f
		if f < least[i] {
			least[i] = f
		}
		if f > most[i] {
			most[i] = f
		}
	}
	return bad
}

// span takes the limits of all values from those of the channels.
func (x *observed) span() {
	x.lo, x.hi = math.Inf(1), math.Inf(-1)
	for i := range x.least {
		x.lo, x.hi = min(x.lo, float64(x.least[i])), max(x.hi, float64(x.most[i]))
	}
}

// magnitude is the largest magnitude of channel i.
func (x *observed) magnitude(i int) float64 {
	return max(math.Abs(float64(x.least[i])), math.Abs(float64(x.most[i])))
}

// divide makes the observation one of values that are divided by scales[k] in channel k.
func (x *observed) divide(scales []float64) {
	x.scale = make([]float32, len(scales))
	for i, s := range scales {
		x.scale[i] = float32(1 / s)
		x.least[i], x.most[i] = x.least[i]*x.scale[i], x.most[i]*x.scale[i]
	}
	x.sample = scaleChannels(x.sample, len(x.sample.Shape)-1, scales, true)
	x.span()
}

// counted bounds the values of one batch that a histogram counts, evenly spread.
const counted = 1 << 18

// add counts values between the limits.
func (x *observed) add(v []float32) {
	k := max(1, len(x.scale))
	stride := 1 + len(v)/counted
	for gcd(stride, len(x.least)) != 1 { // else some channels would never be met
		stride++
	}
	factor := float32(0)
	if x.hi > x.lo {
		factor = float32(bins / (x.hi - x.lo))
	}
	lo := float32(x.lo)
	for i, c := 0, 0; i < len(v); i += stride {
		f := v[i]
		if x.scale != nil {
			f *= x.scale[c]
			if c += stride; c >= k {
				c %= k
			}
		}
		x.count[min(max(int((f-lo)*factor), 0), bins-1)]++
		x.total++
	}
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// keep adds values of whole samples to the sample while there is room, one sample at least.
func (x *observed) keep(v []float32, t *tensor.Tensor) {
	per, have := t.Shape.Size()/t.Shape[0], 0
	n := min(len(v), x.room) / per
	if x.sample != nil {
		have = x.sample.Shape[0]
	} else if n == 0 {
		n = 1
	}
	if n == 0 {
		return
	}
	shape := t.Shape.Clone()
	shape[0] = have + n
	grown := tensor.New(tensor.F32, shape...)
	if x.sample != nil {
		copy(grown.Bytes(), x.sample.Bytes())
	}
	copy(tensor.Data[float32](grown)[have*per:], v[:n*per])
	x.sample, x.room = grown, x.room-n*per
}
