package graph

import (
	"fmt"

	"ringo/runtime/tensor"
)

// Rope is the attribute struct of "rope", rotary position embedding (Su et al., "RoFormer", 2021, eq. 34):
// pair i of each head is turned by the angle position·Base^(−2i/D).
type Rope struct {
	Heads, KVHeads, Dim int     // as in Attention; read when Packed
	Packed              bool    // x is (B,T,(H+2KV)·D); the value heads are left as they are
	Base                float64 // 0 means 10000
	// Interleaved pairs elements (2i, 2i+1), as the original Llama; otherwise (i, i+D/2), as Hugging Face.
	Interleaved bool
	Inverse     bool // turn back: the transpose, which is the derivative
}

// Period returns Base, or 10000 where it is 0.
func (r Rope) Period() float64 {
	if r.Base == 0 {
		return 10000
	}
	return r.Base
}

// Sizes returns batch, time, heads that turn, all heads, and elements per head of an input of shape x.
func (r Rope) Sizes(x tensor.Shape) (b, t, turn, heads, dim int, err error) {
	if r.Packed {
		z, err := Attention{Heads: r.Heads, KVHeads: r.KVHeads, Dim: r.Dim, Packed: true}.Sizes(x, nil)
		if err == nil && z.D%2 != 0 {
			err = fmt.Errorf("head size %d is odd", z.D)
		}
		return z.B, z.T, z.H + z.KV, z.H + 2*z.KV, z.D, err
	}
	if len(x) != 4 || x[3]%2 != 0 {
		return 0, 0, 0, 0, 0, fmt.Errorf("x has shape %v, expected (B,T,H,D) with D even", x)
	}
	return x[0], x[1], x[2], x[2], x[3], nil
}

func ropeInfer(n *Node) ([]Type, error) {
	x := n.In[0]
	b, t, _, _, _, err := attrs[Rope](n).Sizes(x.Shape)
	if err != nil {
		return nil, err
	}
	if !x.DType.IsFloat() {
		return nil, fmt.Errorf("x is %v, expected a float type", x.Type)
	}
	if len(n.In) == 2 {
		p := n.In[1]
		if p.DType != tensor.I32 || (len(p.Shape) != 0 && !p.Shape.Equal(tensor.Shape{b, t})) {
			return nil, fmt.Errorf("pos is %v, expected i32() or i32(%d,%d)", p.Type, b, t)
		}
	}
	return []Type{x.Type}, nil
}

func ropeVJP(g *Graph, n *Node, dy []*Value) []*Value {
	a := attrs[Rope](n)
	a.Inverse = !a.Inverse
	out := make([]*Value, len(n.In))
	out[0] = g.Rope(dy[0], a, n.In[1:]...)
	return out
}

func init() {
	register(Op{Name: "rope", MinIn: 1, MaxIn: 2, Infer: ropeInfer, VJP: ropeVJP,
		FLOPs:   func(n *Node) int64 { return 3 * int64(n.In[0].Shape.Size()) },
		InPlace: [][2]int{{0, 0}},
		Samples: ropeSamples()})
}

func ropeSamples() []Sample {
	var out []Sample
	for _, inter := range []bool{false, true} {
		for _, inv := range []bool{false, true} {
			a := Rope{Interleaved: inter, Inverse: inv}
			p := Rope{Interleaved: inter, Inverse: inv, Packed: true, Heads: 4, KVHeads: 2, Base: 500}
			name := fmt.Sprintf("interleaved=%v inverse=%v ", inter, inv)
			out = append(out,
				Sample{Name: name + "D2", Attrs: a, In: []SampleIn{In(1, 3, 1, 2)}},
				Sample{Name: name + "D64", Attrs: a, In: []SampleIn{In(2, 5, 3, 64)}},
				Sample{Name: name + "D34", Attrs: a, In: []SampleIn{In(1, 17, 2, 34), InIndex(100)}},
				Sample{Name: name + "packed", Attrs: p, In: []SampleIn{In(2, 3, 8*16)}},
				Sample{Name: name + "packed pos", Attrs: p, In: []SampleIn{In(2, 3, 8*6), InIndex(50, 2, 3)}})
		}
	}
	return out
}

// Rope turns x (B,T,H,D), or a packed (B,T,(H+2KV)·D), by its positions: t = 0…T−1, or pos+t with an I32
// scalar pos, or an I32 pos (B,T) as it is.
func (g *Graph) Rope(x *Value, r Rope, pos ...*Value) *Value {
	return g.Apply("rope", r, append([]*Value{x}, pos...)...)
}
