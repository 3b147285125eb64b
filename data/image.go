package data

import (
	"fmt"
	"math"
	"slices"

	"ringo/runtime/tensor"
)

// imageFields are the fields of an image sample.
func imageFields(channels, height, width int) []Field {
	return []Field{
		{"images", tensor.F32, tensor.Shape{channels, height, width}},
		{"labels", tensor.I32, tensor.Shape{}},
	}
}

// pixels is a set of labelled images as read: one byte per pixel and channel, channels first.
type pixels struct {
	channels, height, width int
	data                    []byte // images × channels × height × width
	labels                  []byte
}

func (p pixels) size() int { return p.channels * p.height * p.width }

func (p pixels) slice(lo, hi int) pixels {
	p.data, p.labels = p.data[lo*p.size():hi*p.size()], p.labels[lo:hi]
	return p
}

// split cuts off the tail for validation, at least one image on each side where there are two.
func (p pixels) split(part float64) (head, tail pixels) {
	n := len(p.labels)
	cut := min(max(int(float64(n)*part), 1), n-1)
	return p.slice(0, cut), p.slice(cut, n)
}

// imageSet serves images normalised to float32 and, given an rng, augmented.
type imageSet struct {
	pixels
	fields []Field
	info   Info
	aug    augment
	table  [][256]float32 // per channel: pixel → normalised value
}

var _ Dataset = (*imageSet)(nil)

// imageSets prepares both parts with the training part's mean and deviation.
func imageSets(cfg Config, train, valid pixels, labels []string, hash string) (Dataset, Dataset, error) {
	if train.channels != valid.channels || train.height != valid.height || train.width != valid.width {
		return nil, nil, fmt.Errorf("training images are (%d,%d,%d) but validation images (%d,%d,%d)",
			train.channels, train.height, train.width, valid.channels, valid.height, valid.width)
	}
	if len(train.labels) == 0 || len(valid.labels) == 0 {
		return nil, nil, fmt.Errorf("%d training and %d validation images: expected at least one of each", len(train.labels), len(valid.labels))
	}
	if cfg.Limit > 0 && cfg.Limit < len(train.labels) {
		train = train.slice(0, cfg.Limit)
	}
	spec, err := train.spec(cfg.Mean, cfg.Std)
	if err != nil {
		return nil, nil, err
	}
	classes := max(int(slices.Max(train.labels)), int(slices.Max(valid.labels)), len(labels)-1) + 1
	info := Info{Kind: KindImage, Classes: classes, Labels: labels, Image: spec, Sampling: cfg.Sampling, Hash: hash}
	if info.Sampling == "" {
		info.Sampling = SampleEpoch
	}
	info.Describe = fmt.Sprintf("%s: %d training and %d validation images (%d,%d,%d), %d classes",
		cfg.Path, len(train.labels), len(valid.labels), train.channels, train.height, train.width, classes)
	aug, err := parseAugment(cfg.Augment)
	if err != nil {
		return nil, nil, err
	}
	table := make([][256]float32, spec.Channels)
	for c := range table {
		for p := range 256 {
			table[c][p] = (float32(p)/255 - spec.Mean[c]) / spec.Std[c]
		}
	}
	fields := imageFields(train.channels, train.height, train.width)
	return &imageSet{train, fields, info, aug, table}, &imageSet{valid, fields, info, augment{}, table}, nil
}

// spec returns how to normalise: by the given mean and deviation per channel, or those of the pixels.
func (p pixels) spec(mean, std []float64) (*ImageSpec, error) {
	s := &ImageSpec{Channels: p.channels, Height: p.height, Width: p.width,
		Mean: make([]float32, p.channels), Std: make([]float32, p.channels)}
	if len(mean) != 0 || len(std) != 0 {
		if len(mean) != p.channels || len(std) != p.channels {
			return nil, &KeyError{"data.mean", fmt.Sprintf("%d values here and %d in data.std, the images have %d channels", len(mean), len(std), p.channels)}
		}
		for c := range mean {
			s.Mean[c], s.Std[c] = float32(mean[c]), float32(std[c])
		}
		return s, nil
	}
	plane := p.height * p.width
	for c := range p.channels {
		var n, sum, squares uint64 // of whole numbers: exact below 2⁶⁴, that is 10¹⁴ pixels
		for i := c * plane; i < len(p.data); i += p.size() {
			for _, v := range p.data[i : i+plane] {
				sum += uint64(v)
				squares += uint64(v) * uint64(v)
			}
			n += uint64(plane)
		}
		m := float64(sum) / float64(n)
		variance := max(float64(squares)/float64(n)-m*m, 0)
		s.Mean[c], s.Std[c] = float32(m/255), float32(math.Sqrt(variance)/255)
		if s.Std[c] == 0 { // every pixel alike: nothing to scale
			s.Std[c] = 1
		}
	}
	return s, nil
}

func (s *imageSet) Len() int        { return len(s.labels) }
func (s *imageSet) Fields() []Field { return s.fields }
func (s *imageSet) Info() Info      { return s.info }

func (s *imageSet) Read(i int, rng *tensor.Philox, dst [][]byte) error {
	if err := checkRead(i, s.Len(), s.fields, dst); err != nil {
		return err
	}
	tensor.View[int32](dst[1])[0] = int32(s.labels[i])
	src := s.data[i*s.size() : (i+1)*s.size()]
	out := tensor.View[float32](dst[0])
	if rng != nil && s.aug != (augment{}) {
		s.aug.apply(out, src, s.table, s.height, s.width, rng)
		return nil
	}
	plane := s.height * s.width
	for c := range s.table {
		normalise(out[c*plane:(c+1)*plane], src[c*plane:(c+1)*plane], &s.table[c])
	}
	return nil
}

func normalise(dst []float32, src []byte, table *[256]float32) {
	for j, p := range src {
		dst[j] = table[p]
	}
}
