// Package graph owns the description of a computation: a DAG of nodes, each an op applied to values,
// with shapes and element types but no storage. It holds the one op table (a row gives an op's name,
// arity, shape rule, derivative and sample inputs), reverse-mode differentiation on the graph itself,
// and the verifier. It must not know of memory, devices or training loops.
package graph

import (
	"fmt"
	"strings"

	"ringo/runtime/tensor"
)

// Type is what a value is before it has storage: element type and shape.
type Type struct {
	DType tensor.DType
	Shape tensor.Shape
}

// Bytes returns the storage a value of this type takes.
func (t Type) Bytes() int { return t.Shape.Size() * t.DType.Size() }

// Equal reports whether element type and shape agree.
func (t Type) Equal(u Type) bool { return t.DType == u.DType && t.Shape.Equal(u.Shape) }

// String prints f32(2,3).
func (t Type) String() string { return t.DType.String() + t.Shape.String() }

// Value is one output of a node. Values are compared by identity.
type Value struct {
	Type
	Node  *Node
	Index int // which output of Node
}

// Node is an op applied to values. Nodes of a graph are in topological order: inputs come first.
type Node struct {
	ID    int // position in Graph.Nodes
	Op    *Op
	Attrs any // the op's own attribute struct, nil where it has none
	In    []*Value
	Out   []*Value
	Name  string // scope path such as "h.0.attn.qkv"; for people only
	// Block numbers the repeated part of a model that the node belongs to (see Graph.Block), 0 outside of any.
	Block int
	// Stored, where not nil, are the element types of outputs that are stored in other ones than the op's row infers (Invalid: in that).
	Stored []tensor.DType
	// Backward marks nodes of the backward pass; Again marks those that compute a forward value once more in it.
	Backward, Again bool
}

// Graph is a DAG under construction or complete. It is not safe for concurrent use while it is built.
type Graph struct {
	Nodes   []*Node
	Params  []*Value // trainable leaves, in creation order
	States  []*Value // persistent leaves that training changes but gradients do not
	Inputs  []*Value // fed before each lane
	Outputs []Output // read after a run
	Tracked []Track
	scope   []string
	block   int  // of nodes made now
	blocks  int  // made so far
	back    bool // nodes made now belong to the backward pass
	names   map[string]*Value
}

// Output names a value that callers read.
type Output struct {
	Name  string
	Value *Value
}

// Track asks that after each step, state ← (1−Momentum)·state + Momentum·mean over lanes of New.
// Batch norm's running statistics are the typical case.
type Track struct {
	State, New *Value
	Momentum   float64
}

// Error is a wrong use of an op: it names the node, the op and what did not fit.
type Error struct {
	Op, Name string
	Err      error
}

func (e *Error) Error() string { return fmt.Sprintf("%s %q: %v", e.Op, e.Name, e.Err) }
func (e *Error) Unwrap() error { return e.Err }

// Build runs fn on a new graph and returns the graph, verified. Builder methods panic with *Error on
// wrong shapes so that models read as plain formulas; Build turns that into an ordinary error.
func Build(fn func(g *Graph)) (g *Graph, err error) {
	g = &Graph{names: map[string]*Value{}}
	defer func() {
		if e, ok := recover().(*Error); ok {
			g, err = nil, e
		} else if e != nil {
			panic(e)
		}
	}()
	func() {
		defer rethrow()
		fn(g)
	}()
	return g, Verify(g)
}

// rethrow lets panics that are not *Error pass through Build's recover unchanged.
func rethrow() {
	if r := recover(); r != nil {
		if _, ok := r.(*Error); ok {
			panic(r)
		}
		panic(fmt.Sprintf("graph: broken invariant: %v", r))
	}
}

// Apply adds a node: op by table name, its attributes, its inputs. It returns the first output.
// It panics with *Error where arity, types or shapes do not fit.
func (g *Graph) Apply(op string, attrs any, in ...*Value) *Value {
	return g.ApplyN(op, attrs, in...)[0]
}

// ApplyN is Apply for ops with several outputs.
func (g *Graph) ApplyN(op string, attrs any, in ...*Value) []*Value {
	row, ok := table[op]
	if !ok {
		panic(&Error{op, g.path(""), fmt.Errorf("no such op in the table")})
	}
	n := &Node{ID: len(g.Nodes), Op: row, Attrs: attrs, In: in, Name: g.path(""), Block: g.block, Backward: g.back}
	if err := n.infer(); err != nil {
		panic(&Error{op, n.Name, err})
	}
	g.Nodes = append(g.Nodes, n)
	return n.Out
}

func (n *Node) infer() error {
	if len(n.In) < n.Op.MinIn || (n.Op.MaxIn >= 0 && len(n.In) > n.Op.MaxIn) {
		return fmt.Errorf("%d inputs, expected %d to %d", len(n.In), n.Op.MinIn, n.Op.MaxIn)
	}
	for i, v := range n.In {
		if v == nil {
			return fmt.Errorf("input %d is nil", i)
		}
	}
	types, err := n.types()
	if err != nil {
		return err
	}
	for i, t := range types {
		n.Out = append(n.Out, &Value{Type: t, Node: n, Index: i})
	}
	return nil
}

// types are what the outputs have to be: what the row infers, in the element types of Stored.
func (n *Node) types() ([]Type, error) {
	types, err := n.Op.Infer(n)
	if err != nil {
		return nil, err
	}
	for i, dt := range n.Stored {
		if i < len(types) && dt != tensor.Invalid {
			types[i].DType = dt
		}
	}
	return types, nil
}

// Store says in which element types the outputs are stored: in those that their values carry now.
func (n *Node) Store() error {
	types, err := n.Op.Infer(n)
	if err != nil {
		return &Error{n.Op.Name, n.Name, err}
	}
	n.Stored = nil
	for i, o := range n.Out {
		if o.DType != types[i].DType {
			n.Stored = append(n.Stored, make([]tensor.DType, i+1-len(n.Stored))...)
			n.Stored[i] = o.DType
		}
	}
	return nil
}

// Scope runs fn with name pushed onto the path that parameters and nodes made inside are named by.
func (g *Graph) Scope(name string, fn func()) {
	g.scope = append(g.scope, name)
	defer func() { g.scope = g.scope[:len(g.scope)-1] }()
	fn()
}

// Block runs fn, whose nodes are one block of the model: a part between whose ends the backward pass may compute everything
// once more instead of keeping it (plan.Options.Recompute). Blocks do not nest.
func (g *Graph) Block(fn func()) {
	g.blocks++
	g.block = g.blocks
	defer func() { g.block = 0 }()
	fn()
}

func (g *Graph) path(leaf string) string {
	if leaf == "" {
		return strings.Join(g.scope, ".")
	}
	return strings.Join(append(append([]string{}, g.scope...), leaf), ".")
}

// Output declares that callers read v under name.
func (g *Graph) Output(name string, v *Value) { g.Outputs = append(g.Outputs, Output{name, v}) }

// Find returns the output with the given name, or nil.
func (g *Graph) Find(name string) *Value {
	for _, o := range g.Outputs {
		if o.Name == name {
			return o.Value
		}
	}
	return nil
}

// Track registers a running average; see the type.
func (g *Graph) Track(state, value *Value, momentum float64) {
	if !state.Type.Equal(value.Type) || state.Node.Op.Name != "state" {
		panic(&Error{"track", state.Node.Name, fmt.Errorf("state %v and value %v differ, or it is no state", state.Type, value.Type)})
	}
	g.Tracked = append(g.Tracked, Track{state, value, momentum})
}
