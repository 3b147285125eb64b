package backend

import (
	"fmt"

	"ringo/runtime/plan"
	"ringo/runtime/tensor"
)

// Null plans and checks programs, allocates nothing and computes nothing: for sizing a model that does not
// fit this machine, and for tests of everything but arithmetic.
type Null struct{}

func init() {
	Register("null", func(string, Options) (Backend, error) { return Null{}, nil })
}

var _ Backend = Null{}

func (Null) Name() string     { return "null" }
func (Null) Describe() string { return "null device: plans and checks, computes nothing" }
func (Null) Close() error     { return nil }

// NewStore returns a store that remembers names and shapes only.
func (Null) NewStore() Store { return nullStore{} }

// Compile checks the program against the store.
func (Null) Compile(p *plan.Program, s Store) (Executable, error) {
	have := s.(nullStore)
	missing, err := StoreLayout(p, have)
	if err != nil {
		return nil, err
	}
	for _, t := range missing {
		have[t.Name] = t.Type.Shape
	}
	return nullExec{p}, nil
}

type nullStore map[string]tensor.Shape

func (s nullStore) Has(name string) bool       { _, ok := s[name]; return ok }
func (s nullStore) Write(string, []byte) error { return nil }
func (s nullStore) Read(string, []byte) error  { return nil }
func (s nullStore) Close() error               { return nil }

// FillNormal leaves initial values undrawn: nobody reads them.
func (s nullStore) FillNormal([]float32, tensor.Philox, float32, float32) {}

type nullExec struct{ p *plan.Program }

func (e nullExec) Program() *plan.Program { return e.p }
func (e nullExec) Feed(name string, raw []byte) error {
	r, ok := e.p.Inputs[name]
	if !ok {
		return fmt.Errorf("the program has no input %q", name)
	}
	return CheckSize("input "+name, raw, int64(r.Type.Bytes()))
}
func (e nullExec) Run(from, to int) error               { return nil }
func (e nullExec) Fetch(string, []byte) error           { return nil }
func (e nullExec) Gradient() Gradient                   { return nullGradient{} }
func (e nullExec) Instruction(int, int) ([]byte, error) { return nil, nil }
func (e nullExec) Close() error                         { return nil }

type nullGradient struct{}

func (nullGradient) Len() int                         { return 0 }
func (nullGradient) Save(int)                         {}
func (nullGradient) Add(int, int, int)                {}
func (nullGradient) Host(int, int) ([]float32, error) { return nil, nil }
func (nullGradient) Commit(int, int) error            { return nil }
