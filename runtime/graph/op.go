package graph

import (
	"fmt"
	"sort"

	"ringo/runtime/tensor"
)

// Op is one row of the table. Rows are registered by the family files' init functions and never change.
type Op struct {
	Name         string
	MinIn, MaxIn int // arity; MaxIn −1 means any number

	// Infer returns the output types, or says in one clause what does not fit.
	Infer func(n *Node) ([]Type, error)

	// VJP returns the cotangent of every input, nil where there is none. dy[i] is the cotangent of
	// output i, nil where nothing depends on it. Nil VJP: the op is not differentiable.
	VJP func(g *Graph, n *Node, dy []*Value) []*Value

	// DiffOuts counts the leading outputs that have a cotangent; 0 means one. The rest are saved statistics
	// or indices that only the op's own gradient reads.
	DiffOuts int

	// FLOPs counts multiplications and additions as one each; nil counts one per output element.
	FLOPs func(n *Node) int64

	// Alias: output 0 is input 0's memory under another shape (reshape).
	Alias bool
	// InPlace lists {output, input} pairs of equal size where the kernel allows the output to take the
	// input's memory when that input is not needed any more.
	InPlace [][2]int // attributes may know better: see Overwrites
	// Mutates lists {output, input} pairs where the output *is* the input's memory, changed (a cache
	// write, an optimizer update). Such nodes are never removed, merged or reordered past readers.
	Mutates [][2]int
	// Leaf has no kernel: the value is there before the program runs.
	Leaf bool
	// Samples feed the gradient check, and the parity tests of every backend.
	Samples []Sample
}

// Overwrites lists InPlace's pairs for a node with some attributes, which are asked where they have a say.
func (o *Op) Overwrites(attrs any) [][2]int {
	if a, ok := attrs.(interface{ overwrites() [][2]int }); ok {
		return a.overwrites()
	}
	return o.InPlace
}

// Sample is one set of inputs that tests run an op with.
type Sample struct {
	Name  string
	In    []SampleIn
	Attrs any
	// Tol overrides the float32 parity tolerance (relative to the largest magnitude of the output), with
	// the reason in Why.
	Tol float64
	Why string
	// NoGrad skips the gradient check; Why says the reason (a kink, an integer output).
	NoGrad bool
}

// SampleIn describes one input: floats by default uniform in [−1,1); Lo and Hi choose another range;
// Max > 0 makes integers of [0,Max) with DType (I32 where unset); Bool with DType Bool.
type SampleIn struct {
	Shape  tensor.Shape
	DType  tensor.DType // Invalid means "the float type under test"
	Lo, Hi float64
	Max    int
	// Distinct makes all elements differ by at least 1/size, shuffled: for max, top-k and pooling.
	Distinct bool
	// Wide: saved statistics and the like, F32 where the type under test is narrower.
	Wide bool
}

// In is shorthand for float inputs of the given shape in [−1,1).
func In(shape ...int) SampleIn { return SampleIn{Shape: shape} }

// InRange is In with another range.
func InRange(lo, hi float64, shape ...int) SampleIn {
	return SampleIn{Shape: shape, Lo: lo, Hi: hi}
}

// Statistic makes an input Wide.
func (in SampleIn) Statistic() SampleIn {
	in.Wide = true
	return in
}

// InIndex is an I32 input of numbers below n.
func InIndex(n int, shape ...int) SampleIn {
	return SampleIn{Shape: shape, DType: tensor.I32, Max: n}
}

var table = map[string]*Op{}

func register(rows ...Op) {
	for i := range rows {
		r := rows[i]
		if table[r.Name] != nil || r.Infer == nil || r.Name == "" {
			panic("graph: op row " + r.Name + " is double or incomplete")
		}
		if r.MaxIn == 0 {
			r.MaxIn = r.MinIn
		}
		table[r.Name] = &r
	}
}

// Lookup returns the row of an op.
func Lookup(name string) (*Op, bool) { r, ok := table[name]; return r, ok }

// Ops returns every row, sorted by name.
func Ops() []*Op {
	out := make([]*Op, 0, len(table))
	for _, r := range table {
		out = append(out, r)
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Name < out[j].Name })
	return out
}

// Work returns the floating-point operations of a node.
func (n *Node) Work() int64 {
	switch {
	case n.Op.Leaf || n.Op.Alias:
		return 0
	case n.Op.FLOPs != nil:
		return n.Op.FLOPs(n)
	case len(n.Out) == 0:
		return 0
	}
	return int64(n.Out[0].Shape.Size())
}

// attrs returns the node's attributes as T, or the zero T where there are none.
func attrs[T any](n *Node) T {
	a, _ := n.Attrs.(T)
	return a
}

// sameDType checks that all inputs have one float type and returns it.
func sameFloat(n *Node) (tensor.DType, error) {
	dt := n.In[0].DType
	for i, v := range n.In {
		if v.DType != dt || !dt.IsFloat() {
			return 0, fmt.Errorf("input %d is %v, input 0 is %v: expected one float type", i, v.Type, n.In[0].Type)
		}
	}
	return dt, nil
}
