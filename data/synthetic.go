package data

import (
	"fmt"

	"ringo/runtime/tensor"
)

// syntheticSet makes samples up as they are read: uniform random tokens, or images of uniform noise with
// mean 0 and variance 1 and a random label. There is nothing to learn in them; they serve to time steps.
// Sample i is a pure function of (seed, i).
type syntheticSet struct {
	samples, first int
	bound          int // number of ids or of classes
	seed           uint64
	fields         []Field
	info           Info
}

var _ Dataset = (*syntheticSet)(nil)

func openSynthetic(cfg Config) (train, valid Dataset, err error) {
	s := syntheticSet{samples: cfg.Samples, seed: cfg.Seed}
	s.info.Hash = fmt.Sprintf("synthetic-%d", cfg.Seed)
	if len(cfg.Shape) == 0 {
		s.bound, s.fields = cfg.Vocab, textFields(cfg.Context)
		s.info.Kind, s.info.Vocab, s.info.Tokens = KindText, cfg.Vocab, cfg.Samples*cfg.Context
		s.info.Describe = fmt.Sprintf("%d synthetic windows of %d tokens below %d", cfg.Samples, cfg.Context, cfg.Vocab)
	} else {
		s.bound = cfg.Classes
		s.fields = imageFields(cfg.Shape[0], cfg.Shape[1], cfg.Shape[2])
		s.info.Kind, s.info.Classes = KindImage, cfg.Classes
		s.info.Image = &ImageSpec{Channels: cfg.Shape[0], Height: cfg.Shape[1], Width: cfg.Shape[2]}
		s.info.Describe = fmt.Sprintf("%d synthetic images %v of %d classes", cfg.Samples, tensor.Shape(cfg.Shape), cfg.Classes)
	}
	s.info.Sampling = cfg.Sampling
	if s.info.Sampling == "" {
		s.info.Sampling = SampleEpoch
	}
	v := s
	v.first, v.samples = s.samples, max(1, s.samples/8)
	return &s, &v, nil
}

func (s *syntheticSet) Len() int        { return s.samples }
func (s *syntheticSet) Fields() []Field { return s.fields }
func (s *syntheticSet) Info() Info      { return s.info }

func (s *syntheticSet) Read(i int, _ *tensor.Philox, dst [][]byte) error {
	if err := checkRead(i, s.samples, s.fields, dst); err != nil {
		return err
	}
	p := philox(s.seed, domainContent, 0, 0, uint32(s.first+i), 0)
	if s.info.Kind == KindImage {
		tensor.View[int32](dst[1])[0] = int32(uniform(p.Next(), s.bound))
		const root3 = 1.7320508 // uniform on ±√3 has variance 1
		p.FillUniform(tensor.View[float32](dst[0]), -root3, root3)
		return nil
	}
	tokens, targets := tensor.View[int32](dst[0]), tensor.View[int32](dst[1])
	for t := range tokens {
		tokens[t] = int32(uniform(p.Next(), s.bound))
		if t > 0 {
			targets[t-1] = tokens[t]
		}
	}
	targets[len(targets)-1] = int32(uniform(p.Next(), s.bound))
	return nil
}
