// Package kernels owns the arithmetic: one family per file stem, all versions side by side. F.go holds the
// graph op's plain reference (float64 inside, any element type outside), F.c the C kernels with run-time
// dispatch on CPU features, F_cgo.go their binding, F.cu the CUDA kernels. It also owns the CPU backend that
// runs a planned program with them. It must not know of models, data or training.
package kernels

import (
	"fmt"
	"unsafe"

	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

// View is typed memory: one input or output of a call.
type View struct {
	graph.Type
	Bytes []byte
}

// Ptr returns the address of the first element, nil for an empty view.
func (v View) Ptr() unsafe.Pointer { return unsafe.Pointer(unsafe.SliceData(v.Bytes)) }

// Load returns the elements as float64.
func (v View) Load() []float64 {
	out := make([]float64, v.Shape.Size())
	tensor.LoadFloat64(out, v.DType, v.Bytes)
	return out
}

// Store writes elements, rounding to the view's type.
func (v View) Store(x []float64) { tensor.StoreFloat64(v.Bytes, v.DType, x) }

// Call is one instruction bound to memory.
type Call struct {
	Op      string
	Attrs   any
	In, Out []View
	// Precision is what matrix products may round their factors to: F32 (full) or BF16 (with f32
	// accumulation). The reference ignores it.
	Precision tensor.DType
	// Const says which inputs hold what they always will when the call is bound: a kernel may pack them then. Nil: none.
	Const []bool
	// native is what the function that a Fast returns will call, where that is one C function with one argument.
	native native
}

// native is a C function of one pointer, and that pointer; both lie outside Go's heap. fn is nil where there is none.
type native struct{ fn, arg unsafe.Pointer }

// Ref computes a call in the plainest way, in float64. It defines the right answer; it may allocate.
// An output may share memory with an input that the op's row lists in InPlace or Mutates, so a
// Ref loads all it needs before it stores.
type Ref func(c *Call)

// Fast binds a call to a kernel and returns the function that runs it, or nil where it does not
// cover these types, shapes or this CPU. Binding may allocate; the returned function must not.
type Fast func(c *Call) func()

var (
	refs  = map[string]Ref{}
	fasts = map[string]Fast{}
)

func register(op string, r Ref) {
	if refs[op] != nil {
		panic("kernels: reference of " + op + " registered twice")
	}
	refs[op] = r
}

//nolint:unused // called by the *_cgo.go files, which CGO_ENABLED=0 leaves out
func registerFast(op string, f Fast) {
	if fasts[op] != nil {
		panic("kernels: fast version of " + op + " registered twice")
	}
	fasts[op] = f
}

// Bind returns the function that runs a call: the fast version where there is one and reference is false.
func Bind(c *Call, reference bool) (func(), error) {
	if f := fasts[c.Op]; f != nil && !reference {
		if run := f(c); run != nil {
			return run, nil
		}
	}
	r := refs[c.Op]
	if r == nil {
		return nil, fmt.Errorf("cpu: op %q has no kernel", c.Op)
	}
	return func() { r(c) }, nil
}

// allDType reports whether every view has element type d.
//
//nolint:unused // as registerFast
func allDType(d tensor.DType, groups ...[]View) bool {
	for _, g := range groups {
		for _, v := range g {
			if v.DType != d {
				return false
			}
		}
	}
	return true
}
