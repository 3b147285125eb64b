package quant

import (
	"math"
	"slices"

	"ringo/export"
	"ringo/runtime/backend"
	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

// strengths are the migration strengths α that smooth tries; 0 leaves the norm as it is.
var strengths = []float64{0, 0.25, 0.5, 0.75}

// smoothing is a norm whose result only quantized products read.
type smoothing struct {
	gain, bias string // the norm's parameters; bias is "" for rmsnorm
	layers     []int
}

// smoothable lists the norms that scales can be moved through: y = norm(x)·gain + bias feeds nothing but layers whose
// weights nobody else reads.
func smoothable(g *graph.Graph, r *Recipe, keep []string) (out []smoothing) {
	read := readers(g)
	for _, n := range g.Nodes {
		if (n.Op.Name != "layernorm" && n.Op.Name != "rmsnorm") || n.In[1].Node.Op.Name != "param" || len(read[n.In[1]]) != 1 {
			continue
		}
		s := smoothing{gain: n.In[1].Node.Name}
		if len(n.In) > 2 {
			s.bias = n.In[2].Node.Name
		}
		fits := len(read[n.Out[0]]) > 0
		for _, m := range read[n.Out[0]] {
			if m == nil || weightOf(m) == nil || m.In[0] != n.Out[0] || len(read[m.In[1]]) != 1 {
				fits = false
				break
			}
			at := slices.IndexFunc(r.Layers, func(l Layer) bool { return l.Weight == m.In[1].Node.Name })
			fits = fits && at >= 0 && !slices.Contains(keep, m.In[1].Node.Name)
			s.layers = append(s.layers, at)
		}
		if fits {
			out = append(out, s)
		}
	}
	return out
}

// smooth divides the channels of normalised activations by s and multiplies the weights' rows by it,
//
//	s[k] = max|x[k]|^α / max|w[k]|^(1−α)    (SmoothQuant, eq. 4),
//
// with the α for which the layers behind the norm, made int8, come closest to the float ones. The division goes into
// the norm's gain and bias, so the model computes the same.
func (m *Model) smooth(b backend.Backend, obs *observations, o Options) error {
	g, err := m.Float.Build(1, m.Float.MaxSeq)
	if err != nil {
		return err
	}
	list := smoothable(g, m.Recipe, o.KeepFloat)
	for i, s := range list {
		o.progress("smoothing", i, len(list))
		if err := m.smoothNorm(b, obs, s, o); err != nil {
			return err
		}
	}
	return nil
}

func (m *Model) smoothNorm(b backend.Backend, obs *observations, s smoothing, o Options) error {
	var behind []*smoothedLayer
	x := obs.in[s.layers[0]]
	largest := make([]float32, len(x.least))
	for _, i := range s.layers {
		l, err := newSmoothed(b, m, m.Recipe.Layers[i], obs, i)
		if err != nil {
			return err
		}
		behind = append(behind, l)
		for k, v := range magnitudes(l.weight, l.inputs) {
			largest[k] = max(largest[k], v)
		}
	}
	best, least := []float64(nil), math.Inf(1)
	for _, alpha := range strengths {
		scales := make([]float64, len(largest))
		for k := range scales {
			scales[k] = 1
			if v := math.Pow(x.magnitude(k), alpha) / math.Pow(float64(largest[k]), 1-alpha); alpha > 0 && v > 1e-5 && !math.IsInf(v, 0) {
				scales[k] = v
			}
		}
		sum := 0.0
		for _, l := range behind {
			e, err := l.measured(m.Recipe, scales, o.Activation)
			if err != nil {
				return err
			}
			sum += e
		}
		if sum < least {
			best, least = scales, sum
		}
	}
	for j, i := range s.layers {
		m.scaled[m.Recipe.Layers[i].Weight] = channelScaling{behind[j].inputs, behind[j].weight.Shape, best}
		obs.in[i].divide(best)
	}
	for _, name := range []string{s.gain, s.bias} {
		if name == "" {
			continue
		}
		t := tensor.New(tensor.F32, len(best))
		if err := m.Float.Weights.Read(name, t.Bytes()); err != nil {
			return err
		}
		m.Tensors[name] = scaleChannels(t, 0, best, true)
	}
	return nil
}

// smoothedLayer is a layer behind a norm whose scales are looked for.
type smoothedLayer struct {
	bench
	layer  Layer
	weight *tensor.Tensor
	inputs int // the weight's axis of inputs
}

func newSmoothed(b backend.Backend, m *Model, l Layer, obs *observations, i int) (*smoothedLayer, error) {
	n := obs.nodes[i]
	w := tensor.New(tensor.F32, n.In[1].Shape...)
	if err := m.Float.Weights.Read(l.Weight, w.Bytes()); err != nil {
		return nil, err
	}
	at := bench{device: b, node: n, sample: fewer(obs.in[i].sample, n), weights: overlay{m.Float.Weights, export.Tensors{l.Weight: w}, nil}}
	s := &smoothedLayer{at, l, w, 1 - l.Axis}
	return s, s.reference()
}

// measured is the error of the layer on x/s with the weight w·s, both made int8, the input over its whole range.
func (s *smoothedLayer) measured(r *Recipe, scales []float64, d tensor.DType) (float64, error) {
	at, l := s.bench, s.layer
	at.sample = scaleChannels(at.sample, len(at.sample.Shape)-1, scales, true)
	l.In = Range{}
	for _, v := range tensor.Data[float32](at.sample) {
		l.In.Lo, l.In.Hi = min(l.In.Lo, float64(v)), max(l.In.Hi, float64(v))
	}
	at.weights = overlay{s.weights, export.Tensors{l.Weight: scaleChannels(s.weight, s.inputs, scales, false)}, nil}
	w, err := newRounder(&l, at.weights, s.weight.Shape, nil)
	if err != nil {
		return 0, err
	}
	tensors := export.Tensors{}
	if err := w.quantize(&l, d, tensors); err != nil {
		return 0, err
	}
	return at.measured(l, r, tensors)
}
