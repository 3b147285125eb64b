package quant

import (
	"errors"
	"fmt"
	"slices"

	"ringo/export"
	"ringo/runtime/backend"
	"ringo/runtime/graph"
	"ringo/runtime/plan"
	"ringo/runtime/tensor"
)

// Freeze turns a graph's parameters and running statistics into constants with the contents that w has, so that kernels
// may pack them when a program is bound. States that w does not know, such as key and value caches, stay.
func Freeze(g *graph.Graph, w export.Weights) error {
	row, _ := graph.Lookup("const")
	freeze := func(list []*graph.Value, all bool) (left []*graph.Value, err error) {
		for _, v := range list {
			if len(v.Shape) != 1 && !all {
				left = append(left, v) // a cache: running statistics are vectors
				continue
			}
			t, err := constant(w, v)
			if err != nil {
				return nil, err
			}
			v.Node.Op, v.Node.Attrs = row, graph.Const{Value: t}
		}
		return left, nil
	}
	var err error
	if g.Params, err = freeze(g.Params, true); err != nil {
		return err
	}
	g.States, err = freeze(g.States, false)
	return err
}

// inMemory are weights of which some need not be read into memory again.
type inMemory interface {
	Tensor(name string) *tensor.Tensor
}

// constant returns the contents of a parameter or state.
func constant(w export.Weights, v *graph.Value) (*tensor.Tensor, error) {
	if m, ok := w.(inMemory); ok {
		if t := m.Tensor(v.Node.Name); t != nil && t.DType == v.DType && t.Shape.Equal(v.Shape) {
			return t, nil
		}
	}
	t := tensor.New(v.DType, v.Shape...)
	if err := w.Read(v.Node.Name, t.Bytes()); err != nil {
		return nil, err
	}
	if v.DType == tensor.F32 {
		return t, export.Finite(v.Node.Name, t.Bytes())
	}
	return t, nil
}

// program is a compiled graph that is fed and read by name.
type program struct {
	backend.Executable
	store backend.Store // nil where others own it
}

// compile freezes a graph and binds it to a device.
func compile(b backend.Backend, g *graph.Graph, w export.Weights, disable ...string) (*program, error) {
	if err := Freeze(g, w); err != nil {
		return nil, err
	}
	return bind(b, g, disable...)
}

func bind(b backend.Backend, g *graph.Graph, disable ...string) (*program, error) {
	p, err := plan.Compile(g, plan.Options{Disable: disable})
	if err != nil {
		return nil, err
	}
	s := b.NewStore()
	e, err := b.Compile(p, s)
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return &program{e, s}, nil
}

func (p *program) run() error { return p.Run(0, len(p.Program().Instrs)) }

// fetch returns a copy of an output.
func (p *program) fetch(name string) (*tensor.Tensor, error) {
	r, ok := p.Program().Outputs[name]
	if !ok {
		return nil, fmt.Errorf("int8: the program has no output %q", name)
	}
	t := tensor.New(r.Type.DType, r.Type.Shape...)
	return t, p.Fetch(name, t.Bytes())
}

func (p *program) Close() error {
	err := p.Executable.Close()
	if p.store != nil {
		err = errors.Join(err, p.store.Close())
	}
	return err
}

// feed gives a program those fields of a batch that it reads.
func (p *program) feed(names []string, fields [][]byte) error {
	for name := range p.Program().Inputs {
		i := slices.Index(names, name)
		if i < 0 {
			return fmt.Errorf("int8: the data have no field %q, which the model reads: found %v", name, names)
		}
		if err := p.Feed(name, fields[i]); err != nil {
			return fmt.Errorf("int8: the data do not fit the model: %w", err)
		}
	}
	return nil
}

// Run computes the outputs of a graph once, by name, with weights of w and inputs given by name.
func Run(b backend.Backend, g *graph.Graph, w export.Weights, inputs map[string]*tensor.Tensor) (out map[string]*tensor.Tensor, err error) {
	p, err := compile(b, g, w)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	for name, x := range inputs {
		if err := p.Feed(name, x.Bytes()); err != nil {
			return nil, err
		}
	}
	if err := p.run(); err != nil {
		return nil, err
	}
	out = map[string]*tensor.Tensor{}
	for name := range p.Program().Outputs {
		if out[name], err = p.fetch(name); err != nil {
			return nil, err
		}
	}
	return out, nil
}
