// Package onnxtest owns the check of ringo's ops against the node tests of the ONNX project: it reads a test
// (a model of one node, inputs, expected outputs), maps the node to ops of the graph, and its tests run the
// planned program on the CPU backend. A node without an op of its own is composed of several.
// It must not know of models or training.
package onnxtest

import (
	"fmt"
	"math"
	"slices"
	"sort"

	"ringo/export/onnxpb"
	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

// builder adds the ops that compute a node and returns the node's outputs, in order; those that nobody asks
// for may be left out at the end, or nil.
type builder func(n *node) []*graph.Value

// node is an ONNX node while it is being built.
type node struct {
	*graph.Graph
	pb    *onnxpb.NodeProto
	opset int64
	in    []*graph.Value   // nil where an optional input is left out
	known []*tensor.Tensor // contents of the inputs, nil where only the run knows them
	attrs map[string]*onnxpb.AttributeProto
	read  map[string]bool // attributes that the builder has looked at
}

// Import adds the nodes of m to g. known gives the contents of inputs by name: those that decide shapes
// (axes, sizes, k) must be there. It panics with *graph.Error, which graph.Build turns into an error, on an
// operator, attribute or element type that has no mapping.
func Import(g *graph.Graph, m *onnxpb.ModelProto, known map[string]*tensor.Tensor) {
	values, contents := map[string]*graph.Value{}, map[string]*tensor.Tensor{}
	for name, t := range known {
		contents[name] = t
	}
	for _, t := range m.GetGraph().GetInitializer() {
		c, err := Tensor(t)
		if err != nil {
			panic(&graph.Error{Op: "initializer", Name: t.GetName(), Err: err})
		}
		contents[t.GetName()], values[t.GetName()] = c, g.Const(c)
	}
	for _, in := range m.GetGraph().GetInput() {
		if values[in.GetName()] == nil {
			values[in.GetName()] = input(g, in, contents[in.GetName()])
		}
	}
	for _, pb := range m.GetGraph().GetNode() {
		n := newNode(g, pb, opset(m, pb.GetDomain()))
		for _, name := range pb.GetInput() {
			n.in = append(n.in, values[name])
			n.known = append(n.known, contents[name])
		}
		for i, v := range n.build() {
			if i < len(pb.GetOutput()) {
				values[pb.GetOutput()[i]] = v
			}
		}
	}
	for _, out := range m.GetGraph().GetOutput() {
		v := values[out.GetName()]
		if v == nil {
			panic(&graph.Error{Op: "output", Name: out.GetName(), Err: fmt.Errorf("no node computes it")})
		}
		g.Output(out.GetName(), v)
	}
}

// input adds a graph input. Its shape is that of its contents where they are known, as a model may leave it open.
func input(g *graph.Graph, in *onnxpb.ValueInfoProto, contents *tensor.Tensor) *graph.Value {
	if contents != nil {
		return g.Input(in.GetName(), contents.DType, contents.Shape...)
	}
	t := in.GetType().GetTensorType()
	dt, err := DType(t.GetElemType())
	if err != nil {
		panic(&graph.Error{Op: "input", Name: in.GetName(), Err: err})
	}
	var shape []int
	for _, d := range t.GetShape().GetDim() {
		if d.GetDimValue() < 1 {
			panic(&graph.Error{Op: "input", Name: in.GetName(), Err: fmt.Errorf("dimension %q is open: expected a number", d.GetDimParam())})
		}
		shape = append(shape, int(d.GetDimValue()))
	}
	return g.Input(in.GetName(), dt, shape...)
}

func opset(m *onnxpb.ModelProto, domain string) int64 {
	for _, o := range m.GetOpsetImport() {
		if o.GetDomain() == domain {
			return o.GetVersion()
		}
	}
	return 1
}

func newNode(g *graph.Graph, pb *onnxpb.NodeProto, opset int64) *node {
	n := &node{Graph: g, pb: pb, opset: opset, attrs: map[string]*onnxpb.AttributeProto{}, read: map[string]bool{}}
	for _, a := range pb.GetAttribute() {
		n.attrs[a.GetName()] = a
	}
	return n
}

// build runs the node's builder and checks that it looked at every attribute: one that it does not know would
// change the result unnoticed.
func (n *node) build() []*graph.Value {
	b := builders[n.pb.GetOpType()]
	if b == nil || n.pb.GetDomain() != "" {
		n.fail("operator of domain %q has no mapping: expected one of %v", n.pb.GetDomain(), Operators())
	}
	out := b(n)
	for name := range n.attrs {
		if !n.read[name] {
			n.fail("attribute %q of opset %d is not supported", name, n.opset)
		}
	}
	return out
}

// Operators lists the ONNX operators that have a mapping, sorted.
func Operators() []string {
	var out []string
	for name := range builders {
		out = append(out, name)
	}
	sort.Strings(out)
	return out
}

func (n *node) fail(format string, args ...any) {
	panic(&graph.Error{Op: n.pb.GetOpType(), Name: n.pb.GetName(), Err: fmt.Errorf(format, args...)})
}

// input returns input i, nil where it is left out.
func (n *node) input(i int) *graph.Value {
	if i < len(n.in) {
		return n.in[i]
	}
	return nil
}

// constant returns the contents of input i, nil where the input is left out.
func (n *node) constant(i int) *tensor.Tensor {
	if n.input(i) == nil {
		return nil
	}
	if n.known[i] == nil {
		n.fail("input %d decides shapes: expected a constant", i)
	}
	return n.known[i]
}

// constInts returns the contents of input i as integers, def where it is left out.
func (n *node) constInts(i int, def []int) []int {
	t := n.constant(i)
	if t == nil {
		return def
	}
	out := make([]int, 0, t.Size())
	for _, v := range t.Float64s() {
		// ONNX writes "to the end" as the largest 64-bit integer, which float64 cannot hold.
		out = append(out, int(math.Max(math.MinInt32, math.Min(math.MaxInt32, v))))
	}
	return out
}

// constFloat returns the one number of input i, def where it is left out.
func (n *node) constFloat(i int, def float64) float64 {
	t := n.constant(i)
	if t == nil {
		return def
	}
	if t.Size() != 1 {
		n.fail("input %d is %v: expected one number", i, t)
	}
	return t.Float64s()[0]
}

// wants reports whether output i has a name, that is, whether somebody reads it.
func (n *node) wants(i int) bool {
	return i < len(n.pb.GetOutput()) && n.pb.GetOutput()[i] != ""
}

func (n *node) attr(name string) *onnxpb.AttributeProto {
	n.read[name] = true
	return n.attrs[name]
}

func (n *node) int(name string, def int) int {
	if a := n.attr(name); a != nil {
		return int(a.GetI())
	}
	return def
}

func (n *node) bool(name string, def bool) bool {
	if a := n.attr(name); a != nil {
		return a.GetI() != 0
	}
	return def
}

func (n *node) float(name string, def float64) float64 {
	if a := n.attr(name); a != nil {
		return float64(a.GetF())
	}
	return def
}

func (n *node) string(name, def string) string {
	if a := n.attr(name); a != nil {
		return string(a.GetS())
	}
	return def
}

func (n *node) ints(name string, def []int) []int {
	a := n.attr(name)
	if a == nil {
		return def
	}
	out := make([]int, 0, len(a.GetInts()))
	for _, v := range a.GetInts() {
		out = append(out, int(v))
	}
	return out
}

// axis resolves an axis that may count from the end of a shape of the given rank.
func (n *node) axis(a, rank int) int {
	if a < -rank || a >= rank {
		n.fail("axis %d is outside rank %d", a, rank)
	}
	return (a + rank) % rank
}

// join returns the shape made of the parts.
func join(parts ...[]int) []int { return slices.Concat(parts...) }

// ones returns n times 1.
func ones(n int) []int {
	s := make([]int, n)
	for i := range s {
		s[i] = 1
	}
	return s
}

func one(v *graph.Value) []*graph.Value { return []*graph.Value{v} }
