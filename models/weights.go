package models

import (
	"fmt"

	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

// Weight says where a tensor of the Hugging Face or torchvision checkpoint lies: in rows [From,To) of the
// parameter or state Param. Most are a whole parameter under its own name.
type Weight struct {
	Name     string
	Param    string
	From, To int
}

// Weights lists every parameter, and every running statistic, of a graph the model built, under the names
// that Hugging Face and torchvision use, in the order of creation. Key/value caches are not listed. A packed
// parameter appears as its parts; a tied head appears once, as the embedding.
func (m *Model) Weights(g *graph.Graph) []Weight {
	var out []Weight
	for _, list := range [][]*graph.Value{g.Params, g.States} {
		for _, v := range list {
			if len(v.Shape) > 0 && v.Node.Op.Name == "state" && len(v.Shape) != 1 {
				continue // a cache; running statistics are vectors
			}
			out = append(out, m.parts(v)...)
		}
	}
	return out
}

func (m *Model) parts(v *graph.Value) []Weight {
	name := v.Node.Name
	if m.arch.split != nil {
		if parts := m.arch.split(&m.Config, name); parts != nil {
			return parts
		}
	}
	return []Weight{{Name: name, Param: name, From: 0, To: v.Shape[0]}}
}

// Slice returns a copy of w's rows of packed, the tensor of w.Param. It panics where the rows are not there.
func (w Weight) Slice(packed *tensor.Tensor) *tensor.Tensor {
	shape := packed.Shape.Clone()
	row := len(packed.Bytes()) / shape[0]
	shape[0] = w.To - w.From
	out := tensor.New(packed.DType, shape...)
	copy(out.Bytes(), packed.Bytes()[w.From*row:w.To*row])
	return out
}

// Fill copies part into w's rows of packed, the tensor of w.Param. It returns an error where types or shapes differ.
func (w Weight) Fill(packed, part *tensor.Tensor) error {
	want := packed.Shape.Clone()
	row := len(packed.Bytes()) / want[0]
	want[0] = w.To - w.From
	if part.DType != packed.DType || !part.Shape.Equal(want) {
		return fmt.Errorf("weight %q: found %v%v, expected %v%v", w.Name, part.DType, part.Shape, packed.DType, want)
	}
	copy(packed.Bytes()[w.From*row:w.To*row], part.Bytes())
	return nil
}
