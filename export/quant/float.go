package quant

import (
	"errors"
	"slices"

	"ringo/export"
	"ringo/runtime/backend"
	"ringo/runtime/graph"
	"ringo/runtime/plan"
	"ringo/runtime/tensor"
)

// floatModel is a float model on a device. Its weights are there once, in a store that the programs made of it share.
type floatModel struct {
	*export.Inference
	device backend.Backend
	store  backend.Store
	filled map[string]bool
}

func openFloat(b backend.Backend, inf *export.Inference) *floatModel {
	return &floatModel{inf, b, b.NewStore(), map[string]bool{}}
}

// compile binds a graph of the model to the device. Whoever closes the program leaves the weights where they are.
func (f *floatModel) compile(g *graph.Graph, disable ...string) (*program, error) {
	p, err := plan.Compile(g, plan.Options{Disable: disable})
	if err != nil {
		return nil, err
	}
	e, err := f.device.Compile(p, f.store)
	if err != nil {
		return nil, err
	}
	for _, v := range slices.Concat(g.Params, g.States) {
		if err := f.fill(v); err != nil {
			return nil, errors.Join(err, e.Close())
		}
	}
	return &program{Executable: e}, nil
}

func (f *floatModel) fill(v *graph.Value) error {
	name := v.Node.Name
	if f.filled[name] || !f.store.Has(name) {
		return nil
	}
	t := tensor.New(v.DType, v.Shape...)
	if err := f.Weights.Read(name, t.Bytes()); err != nil {
		return err
	}
	if v.DType == tensor.F32 {
		if err := export.Finite(name, t.Bytes()); err != nil {
			return err
		}
	}
	f.filled[name] = true
	return f.store.Write(name, t.Bytes())
}

func (f *floatModel) Close() error { return f.store.Close() }
