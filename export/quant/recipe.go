package quant

import (
	"fmt"
	"math"
	"slices"

	"ringo/export"
	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

// Range is the interval that an activation's 256 levels cover; 0 always lies in it, and on a level.
type Range struct {
	Lo     float64 `json:"lo"`
	Hi     float64 `json:"hi"`
	Method string  `json:"method,omitempty"` // the calibration that chose it
}

// Quantizer returns the scale and the zero point of the range in an 8-bit type:
// scale = (hi − lo)/255, zero = least − lo/scale, rounded.
func (r Range) Quantizer(d tensor.DType) (scale float32, zero int) {
	lo, hi := min(r.Lo, 0), max(r.Hi, 0)
	least, most := -128.0, 127.0
	if d == tensor.U8 {
		least, most = 0, 255
	}
	s := (hi - lo) / 255
	if float32(s) < math.SmallestNonzeroFloat32*(1<<24) { // an activation that is always 0, or too small to divide by
		return 1, 0
	}
	z := math.RoundToEven(least - lo/s)
	return float32(s), int(min(max(z, least), most))
}

// Layer is one matrix product or convolution with a weight of its own.
type Layer struct {
	Weight  string  `json:"weight"`            // the parameter
	Bias    string  `json:"bias,omitempty"`    // the parameter, where it is added by the layer itself
	Op      string  `json:"op"`                // "matmul" or "conv2d"
	Axis    int     `json:"axis"`              // of the weight, along which scales differ: output channels
	Integer bool    `json:"int32_bias"`        // the bias is rounded to the scale of the sums; else it stays float
	In      Range   `json:"in"`                // of the input
	Out     *Range  `json:"out,omitempty"`     // of the result, behind its relu, where that is quantized for itself
	Float   bool    `json:"float,omitempty"`   // kept in float
	Dynamic bool    `json:"dynamic,omitempty"` // the input's range is taken from each batch
	Error   float64 `json:"error"`             // ‖y_int8 − y‖²/‖y‖² of the layer alone, on calibration data
	Size    int     `json:"size"`              // elements of the weight
}

// Recipe says how a model is quantized; together with the tensors it is all that the integer form needs.
type Recipe struct {
	Format     int     `json:"format"`
	Activation string  `json:"activations"` // "i8" or "u8"
	Layers     []Layer `json:"layers"`
}

// recipeFormat is the version that files carry.
const recipeFormat = 1

// Validate refuses a recipe that this version does not understand.
func (r *Recipe) Validate() error {
	if r.Format != recipeFormat {
		return fmt.Errorf("int8 recipe: format %d, expected %d: export the model again with this version", r.Format, recipeFormat)
	}
	if d := r.dtype(); d == tensor.Invalid {
		return fmt.Errorf("int8 recipe: activations %q, expected i8 or u8", r.Activation)
	}
	for _, l := range r.Layers {
		if math.IsNaN(l.In.Lo) || math.IsNaN(l.In.Hi) || math.IsInf(l.In.Lo, 0) || math.IsInf(l.In.Hi, 0) {
			return fmt.Errorf("int8 recipe: layer %q has the range %v…%v, expected finite numbers", l.Weight, l.In.Lo, l.In.Hi)
		}
	}
	return nil
}

func (r *Recipe) dtype() tensor.DType {
	switch r.Activation {
	case "i8":
		return tensor.I8
	case "u8":
		return tensor.U8
	}
	return tensor.Invalid
}

// layer returns the layer of a weight, nil where it stays float or is none.
func (r *Recipe) layer(weight string) *Layer {
	for i := range r.Layers {
		if l := &r.Layers[i]; l.Weight == weight && !l.Float {
			return l
		}
	}
	return nil
}

// weightOf returns the weight's leaf of a product that can be quantized, nil for other nodes: what multiplies two
// activations, such as attention, stays float.
func weightOf(n *graph.Node) *graph.Value {
	switch a := n.Attrs.(type) {
	case graph.MatMul:
		if n.Op.Name != "matmul" || a.TransA || a.Act != "" || a.ActGrad != "" || a.KeepPre || a.Residual {
			return nil
		}
	case graph.Conv2D:
		if n.Op.Name != "conv2d" || a.Act != "" {
			return nil
		}
	default:
		return nil
	}
	w := n.In[1]
	if w.Node.Op.Name != "param" || w.DType != tensor.F32 || (n.Op.Name == "matmul" && len(w.Shape) != 2) {
		return nil
	}
	return w
}

// findLayers lists the layers of a graph in order. A weight that two products share makes one layer, the first.
func findLayers(g *graph.Graph) (list []Layer, nodes []*graph.Node) {
	for _, n := range g.Nodes {
		w := weightOf(n)
		if w == nil || slices.ContainsFunc(list, func(l Layer) bool { return l.Weight == w.Node.Name }) {
			continue
		}
		l := Layer{Weight: w.Node.Name, Op: n.Op.Name, Size: w.Shape.Size()}
		biased := false
		switch a := n.Attrs.(type) {
		case graph.MatMul:
			l.Axis, biased = 1, a.Bias
			if a.TransB {
				l.Axis = 0
			}
			l.Integer = biased && len(n.In[0].Shape) == 2
		case graph.Conv2D:
			biased, l.Integer = a.Bias, a.Bias
		}
		if biased && n.In[2].Node.Op.Name == "param" {
			l.Bias = n.In[2].Node.Name
		} else {
			l.Integer = false
		}
		list, nodes = append(list, l), append(nodes, n)
	}
	return list, nodes
}

// LayerNames lists the weights of the layers that can be quantized, in order.
func LayerNames(inf *export.Inference) (names []string, err error) {
	g, err := inf.Build(1, inf.MaxSeq)
	if err != nil {
		return nil, err
	}
	list, _ := findLayers(g)
	for _, l := range list {
		names = append(names, l.Weight)
	}
	return names, nil
}

// readers counts how often each value is read, as an output too.
func readers(g *graph.Graph) map[*graph.Value][]*graph.Node {
	out := map[*graph.Value][]*graph.Node{}
	for _, n := range g.Nodes {
		for _, v := range n.In {
			out[v] = append(out[v], n)
		}
	}
	for _, o := range g.Outputs {
		out[o.Value] = append(out[o.Value], nil)
	}
	return out
}

// moves reports whether a node only moves or chooses elements, so that rounding may come before it.
func moves(n *graph.Node) bool {
	return n.Op.Name == "reshape" || n.Op.Name == "transpose" || n.Op.Name == "maxpool2d"
}

// behindRelu is the value behind the relu that alone reads v, else v.
func behindRelu(read map[*graph.Value][]*graph.Node, v *graph.Value) *graph.Value {
	if list := read[v]; len(list) == 1 && list[0] != nil && list[0].Op.Name == "relu" {
		return list[0].Out[0]
	}
	return v
}

// places says where a graph's values are quantized: the input of every layer, the values in front of it that reach it
// alone through moves, and results of convolutions. A value that two layers read has one range, the wider of the two.
func places(g *graph.Graph, r *Recipe) map[*graph.Value]Range {
	out, read := map[*graph.Value]Range{}, readers(g)
	put := func(v *graph.Value, x Range) {
		if old, ok := out[v]; ok {
			x.Lo, x.Hi = min(x.Lo, old.Lo), max(x.Hi, old.Hi)
		}
		out[v] = x
	}
	for _, n := range g.Nodes {
		w := weightOf(n)
		if w == nil {
			continue
		}
		l := r.layer(w.Node.Name)
		if l == nil || l.Dynamic {
			continue
		}
		put(n.In[0], l.In)
	}
	for i := len(g.Nodes) - 1; i >= 0; i-- { // from a layer towards the inputs
		n := g.Nodes[i]
		if x, ok := out[firstOut(n)]; ok && moves(n) && len(read[n.In[0]]) == 1 {
			put(n.In[0], x)
		}
	}
	for _, n := range g.Nodes {
		if w := weightOf(n); w != nil {
			if l := r.layer(w.Node.Name); l != nil && l.Out != nil {
				if v := behindRelu(read, n.Out[0]); !has(out, v) {
					put(v, *l.Out)
				}
			}
		}
	}
	return out
}

func has(m map[*graph.Value]Range, v *graph.Value) bool { _, ok := m[v]; return ok }

func firstOut(n *graph.Node) *graph.Value {
	if len(n.Out) == 0 {
		return nil
	}
	return n.Out[0]
}
