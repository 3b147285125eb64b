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
func (m *Model) smooth(b backend.Backend, obs *observations, nodes []*graph.Node, o Options) error {
	if len(nodes) == 0 {
		return nil
	}
	g, err := m.Float.Build(1, m.Float.MaxSeq)
	if err != nil {
		return err
	}
	list := smoothable(g, m.Recipe, o.KeepFloat)
	for i, s := range list {
		o.progress("smoothing", i, len(list))
		if err := m.smoothNorm(b, obs, nodes, s, o); err != nil {
			return err
		}
	}
	return nil
}

func (m *Model) smoothNorm(b backend.Backend, obs *observations, nodes []*graph.Node, s smoothing, o Options) error {
	read := func(name string, shape tensor.Shape) (*tensor.Tensor, error) {
		t := tensor.New(tensor.F32, shape...)
		return t, m.weights().Read(name, t.Bytes())
	}
	var weights []*tensor.Tensor
	channels := obs.in[s.layers[0]].channels
	largest := make([]float64, len(channels))
	for _, i := range s.layers {
		w, err := read(m.Recipe.Layers[i].Weight, nodes[i].In[1].Shape)
		if err != nil {
			return err
		}
		weights = append(weights, w)
		for k, v := range tensor.Data[float32](w) {
			row := channelOf(w.Shape, 1-m.Recipe.Layers[i].Axis, k)
			largest[row] = max(largest[row], math.Abs(float64(v)))
		}
	}
	best, least := []float64(nil), math.Inf(1)
	for _, alpha := range strengths {
		scales := make([]float64, len(channels))
		for k := range scales {
			scales[k] = 1
			if v := math.Pow(channels[k], alpha) / math.Pow(largest[k], 1-alpha); alpha > 0 && v > 1e-5 && !math.IsInf(v, 0) {
				scales[k] = v
			}
		}
		sum := 0.0
		for j, i := range s.layers {
			e, err := m.smoothedError(b, m.Recipe.Layers[i], nodes[i], obs.in[i].sample, weights[j], scales, o)
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
		m.Tensors[m.Recipe.Layers[i].Weight] = scaleChannels(weights[j], 1-m.Recipe.Layers[i].Axis, best, false)
	}
	for _, name := range []string{s.gain, s.bias} {
		if name == "" {
			continue
		}
		t, err := read(name, tensor.Shape{len(best)})
		if err != nil {
			return err
		}
		m.Tensors[name] = scaleChannels(t, 0, best, true)
	}
	return nil
}

// scaleChannels returns a copy of t with slice k along axis times, or divided by, scales[k].
func scaleChannels(t *tensor.Tensor, axis int, scales []float64, divide bool) *tensor.Tensor {
	out := t.Clone()
	x := tensor.Data[float32](out)
	for i, v := range x {
		s := scales[channelOf(t.Shape, axis, i)]
		if divide {
			s = 1 / s
		}
		x[i] = float32(float64(v) * s)
	}
	return out
}

// smoothedError is the error of a layer on x/s with the weight w·s, both made int8, the input over its whole range.
func (m *Model) smoothedError(b backend.Backend, l Layer, n *graph.Node, sample, w *tensor.Tensor, scales []float64, o Options) (float64, error) {
	sample = fewer(sample, n)
	x := scaleChannels(sample, len(sample.Shape)-1, scales, true)
	l.In = Range{}
	for _, v := range tensor.Data[float32](x) {
		l.In.Lo, l.In.Hi = min(l.In.Lo, float64(v)), max(l.In.Hi, float64(v))
	}
	changed := export.Tensors{l.Weight: scaleChannels(w, 1-l.Axis, scales, false)}
	at := &bench{device: b, node: n, sample: x, weights: overlay{m.weights(), changed}}
	if err := at.reference(); err != nil {
		return 0, err
	}
	tensors := export.Tensors{}
	if err := quantizeLayer(&l, at.weights, n.In[1].Shape, o.Activation, tensors, nil); err != nil {
		return 0, err
	}
	return at.measured(l, m.Recipe, tensors)
}
