package graph

import (
	"fmt"

	"ringo/runtime/tensor"
)

// Leaf is the attribute struct of "param", "state" and "input".
type Leaf struct {
	Name string
	Type Type
	Init Init
	// NoDecay excludes a parameter from weight decay (biases, norm gains).
	NoDecay bool
	// Hidden marks a 2-D weight inside the network, which Muon orthogonalises; embeddings and heads are not.
	Hidden bool
}

// Const is the attribute struct of "const": a value known when the graph is built.
type Const struct{ Value *tensor.Tensor }

// Fill is the attribute struct of "fill": one number everywhere, at no storage cost until it is needed.
type Fill struct {
	Value float64
	Type  Type
}

// Init says how a leaf starts: Mean + Std·z for "normal", [Lo,Hi) for "uniform", Value for "constant".
type Init struct {
	Kind   string // "normal", "uniform" or "constant"; empty means constant
	Value  float64
	Std    float64
	Lo, Hi float64
}

// Normal initialises with mean 0 and the given standard deviation.
func Normal(std float64) Init { return Init{Kind: "normal", Std: std} }

// Uniform initialises with numbers of [−bound, bound).
func Uniform(bound float64) Init { return Init{Kind: "uniform", Lo: -bound, Hi: bound} }

// Constant initialises every element with v.
func Constant(v float64) Init { return Init{Kind: "constant", Value: v} }

func leafInfer(n *Node) ([]Type, error) {
	switch a := n.Attrs.(type) {
	case Leaf:
		return []Type{a.Type}, nil
	case Const:
		return []Type{{a.Value.DType, a.Value.Shape}}, nil
	case Fill:
		return []Type{a.Type}, nil
	}
	return nil, fmt.Errorf("attributes %T", n.Attrs)
}

func init() {
	register(
		Op{Name: "param", Leaf: true, Infer: leafInfer}, // trainable
		Op{Name: "state", Leaf: true, Infer: leafInfer}, // persistent, not differentiated
		Op{Name: "input", Leaf: true, Infer: leafInfer}, // fed by the caller
		Op{Name: "const", Leaf: true, Infer: leafInfer},
		Op{Name: "fill", Infer: leafInfer},
	)
}

func (g *Graph) leaf(op string, l Leaf) *Value {
	l.Name = g.path(l.Name)
	if g.names[l.Name] != nil {
		panic(&Error{op, l.Name, fmt.Errorf("the name is taken already")})
	}
	v := g.Apply(op, l)
	v.Node.Name = l.Name
	g.names[l.Name] = v
	return v
}

// Param adds a trainable leaf; its name is the scope path plus l.Name.
func (g *Graph) Param(l Leaf) *Value {
	v := g.leaf("param", l)
	g.Params = append(g.Params, v)
	return v
}

// State adds a persistent leaf without a gradient, such as running statistics or a key/value cache.
func (g *Graph) State(name string, dt tensor.DType, init Init, shape ...int) *Value {
	v := g.leaf("state", Leaf{Name: name, Type: Type{dt, shape}, Init: init})
	g.States = append(g.States, v)
	return v
}

// Input adds a leaf that the caller feeds; its name is as given, without the scope.
func (g *Graph) Input(name string, dt tensor.DType, shape ...int) *Value {
	v := g.Apply("input", Leaf{Name: name, Type: Type{dt, shape}})
	v.Node.Name = name
	g.Inputs = append(g.Inputs, v)
	return v
}

// Const adds a value that is known now.
func (g *Graph) Const(t *tensor.Tensor) *Value { return g.Apply("const", Const{t}) }

// Fill adds a tensor that holds v everywhere.
func (g *Graph) Fill(v float64, dt tensor.DType, shape ...int) *Value {
	return g.Apply("fill", Fill{v, Type{dt, shape}})
}

// Scalar adds a 0-dimensional constant.
func (g *Graph) Scalar(v float64, dt tensor.DType) *Value { return g.Fill(v, dt) }
