package train

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"ringo/runtime/tensor"
)

// Sampling says how the next token is drawn from the model's distribution.
type Sampling struct {
	Temperature float64 // divides the logits; 0 takes the likeliest token always
	TopK        int     // only the so many likeliest; 0: all
	TopP        float64 // only the likeliest that together have this probability (Holtzman et al., 2020); 0 or 1: all
	Seed        uint64
}

// Validate returns one sentence about the first value that cannot be.
func (s Sampling) Validate() error {
	switch {
	case !(s.Temperature >= 0) || math.IsInf(s.Temperature, 0):
		return fmt.Errorf("temperature %v: must be 0 or more", s.Temperature)
	case s.TopK < 0:
		return fmt.Errorf("top-k %d: must be 0 or more", s.TopK)
	case !(s.TopP >= 0 && s.TopP <= 1):
		return fmt.Errorf("top-p %v: must lie between 0 and 1", s.TopP)
	}
	return nil
}

// sampler draws tokens; it reuses its memory from draw to draw.
type sampler struct {
	Sampling
	order []int32
	prob  []float64
}

// samplingStream keeps these draws apart from others of the same seed.
const samplingStream = 0x67656e65 // "gene"

// draw returns the id of draw number at, a pure function of seed, at and logits. Ties go to the lower id.
func (s *sampler) draw(logits []float32, at int) int32 {
	if s.Temperature == 0 {
		best := 0
		for i, x := range logits {
			if x > logits[best] {
				best = i
			}
		}
		return int32(best)
	}
	s.order, s.prob = s.order[:0], s.prob[:0]
	for i := range logits {
		s.order = append(s.order, int32(i))
	}
	slices.SortFunc(s.order, func(a, b int32) int {
		if c := cmp.Compare(logits[b], logits[a]); c != 0 {
			return c
		}
		return cmp.Compare(a, b)
	})
	if s.TopK > 0 {
		s.order = s.order[:min(s.TopK, len(s.order))]
	}
	// p ∝ exp((x − max)/temperature)
	total := 0.0
	for _, id := range s.order {
		p := math.Exp(float64(logits[id]-logits[s.order[0]]) / s.Temperature)
		s.prob = append(s.prob, p)
		total += p
	}
	if s.TopP > 0 && s.TopP < 1 {
		kept, sum := 0, 0.0
		for kept < len(s.prob) && sum < s.TopP*total {
			sum += s.prob[kept]
			kept++
		}
		s.prob, total = s.prob[:kept], sum
	}
	p := tensor.NewPhilox(s.Seed, samplingStream)
	b := p.At(uint64(at))
	u := float64(uint64(b[0])<<21|uint64(b[1])>>11) / (1 << 53) * total // [0,total), 53 random bits
	for i, q := range s.prob {
		if u -= q; u < 0 {
			return s.order[i]
		}
	}
	return s.order[len(s.prob)-1] // rounding left a crumb
}
