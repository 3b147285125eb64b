package quant

import (
	"fmt"
	"math"
	"slices"
)

// bins of a histogram: 16 to each of the 256 levels that they are cut into.
const bins = 4096

// histogram counts an activation's values between the smallest and the largest that calibration met.
type histogram struct {
	lo, hi float64
	count  [bins]float64
	total  float64
}

func (h *histogram) width() float64 { return (h.hi - h.lo) / bins }

// Methods lists the calibrations: the whole range; the range without the outermost values; the range of least squared
// error; the range that keeps most of the distribution's information. All cover 0.
var methods = []struct {
	name   string
	choose func(h *histogram, percentile float64) Range
}{
	{"minmax", func(h *histogram, _ float64) Range { return Range{Lo: h.lo, Hi: h.hi} }},
	{"percentile", percentileRange},
	{"mse", func(h *histogram, _ float64) Range { return h.best(h.squaredError) }},
	{"entropy", func(h *histogram, _ float64) Range { return h.best(h.divergence) }},
}

// Methods lists the names that Options.Method may take, besides auto.
func Methods() []string {
	var out []string
	for _, m := range methods {
		out = append(out, m.name)
	}
	return out
}

// calibrated returns the range of the named method.
func (h *histogram) calibrated(method string, percentile float64) (Range, error) {
	for _, m := range methods {
		if m.name == method {
			r := m.choose(h, percentile)
			r.Method = method
			return r, nil
		}
	}
	return Range{}, fmt.Errorf("int8: calibration %q: unknown, expected auto or one of %v", method, Methods())
}

// percentileRange drops (100 − percentile)/2 percent of the values at either end.
func percentileRange(h *histogram, percentile float64) Range {
	drop := h.total * (100 - percentile) / 200
	edge := func(from, step int) int {
		seen := 0.0
		for i := from; i >= 0 && i < bins; i += step {
			if seen += h.count[i]; seen > drop {
				return i
			}
		}
		return from
	}
	return Range{Lo: h.lo + float64(edge(0, 1))*h.width(), Hi: h.lo + float64(edge(bins-1, -1)+1)*h.width()}
}

// best shrinks the range from both ends by the same factor, in 80 steps to a fifth, and takes the least cost.
func (h *histogram) best(cost func(lo, hi float64) float64) Range {
	out, least := Range{Lo: h.lo, Hi: h.hi}, math.Inf(1)
	for i := range 81 {
		f := 1 - float64(i)*0.01
		if c := cost(h.lo*f, h.hi*f); c < least {
			out, least = Range{Lo: h.lo * f, Hi: h.hi * f}, c
		}
	}
	return out
}

// squaredError is Σ count·(x − x̂)² over bins, x̂ the nearest of 256 levels between lo and hi.
func (h *histogram) squaredError(lo, hi float64) (sum float64) {
	lo, hi = min(lo, 0), max(hi, 0)
	step := (hi - lo) / 255
	if step == 0 {
		return math.Inf(1)
	}
	zero := math.RoundToEven(-lo / step)
	for i, c := range h.count {
		if c == 0 {
			continue
		}
		x := h.lo + (float64(i)+0.5)*h.width()
		q := min(max(math.RoundToEven(x/step)+zero, 0), 255)
		d := x - (q-zero)*step
		sum += c * d * d
	}
	return sum
}

// divergence is KL(P‖Q): P the distribution with what lies outside lo…hi moved to the ends, Q the same inside after its
// bins were joined to 256 levels and spread evenly over those that are not empty (Migacz 2017).
func (h *histogram) divergence(lo, hi float64) float64 {
	w := h.width()
	if w == 0 {
		return math.Inf(1)
	}
	from, to := max(int((lo-h.lo)/w), 0), min(int(math.Ceil((hi-h.lo)/w)), bins)
	inside := to - from
	if inside < 256 {
		return math.Inf(1)
	}
	p := slices.Clone(h.count[from:to])
	q := make([]float64, inside)
	for level := range 256 {
		a, b := level*inside/256, (level+1)*inside/256
		sum, used := 0.0, 0.0
		for _, c := range p[a:b] {
			if sum += c; c > 0 {
				used++
			}
		}
		for i := a; i < b; i++ {
			if p[i] > 0 {
				q[i] = sum / used
			}
		}
	}
	for _, c := range h.count[:from] {
		p[0] += c
	}
	for _, c := range h.count[to:] {
		p[inside-1] += c
	}
	totalQ := 0.0
	for _, c := range q {
		totalQ += c
	}
	kl := 0.0
	for i, c := range p {
		if c > 0 {
			kl += c / h.total * math.Log(c/h.total/(max(q[i], 1e-9)/totalQ))
		}
	}
	return kl
}
