//go:build cuda

package blas

// #include "lt.h"
// static void *ringo_plan_run_address(void) { return (void *)ringo_plan_run; }
import "C"

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"unsafe"

	"gorgonia.org/cu"

	"ringo/cuda/driver"
	"ringo/kernels"
	"ringo/runtime/tensor"
)

// WorkspaceBytes is device memory for products that cut their sums: what NVIDIA advises for Hopper GPUs.
const WorkspaceBytes = 32 << 20

// EnvLibrary names another file than libcublasLt.so.
const EnvLibrary = "RINGO_CUBLASLT"

// Library is what was loaded: its file, and its version, such as 120603.
type Library struct {
	Path    string
	Version int
}

// String is the version and the file, as people read them.
func (l Library) String() string {
	return fmt.Sprintf("%d.%d.%d (%s)", l.Version/10000, l.Version/100%100, l.Version%100, l.Path)
}

// Open loads the library, once per process.
var Open = sync.OnceValues(open)

func open() (Library, error) {
	library, err := driver.OpenLibrary(names(cu.Version())...)
	if err != nil {
		return Library{}, fmt.Errorf("no cuBLASLt: %w", err)
	}
	v := C.ringo_lt_bind(library.Handle)
	if v == 0 {
		return Library{}, fmt.Errorf("no cuBLASLt: %s: %s", library.Path, C.GoString(C.ringo_lt_why()))
	}
	return Library{library.Path, int(v)}, nil
}

// names lists the library's names, newest first. That of CUDA 13 refuses drivers of CUDA 12, which may lie beside it; without a
// driver, whose version is below 0, any will do.
func names(driverVersion int) []string {
	if p := os.Getenv(EnvLibrary); p != "" {
		return []string{p}
	}
	all := []string{"libcublasLt.so.13", "libcublasLt.so.12", "libcublasLt.so.11", "libcublasLt.so"}
	if driverVersion > 0 && driverVersion < 13000 {
		return all[1:]
	}
	return all
}

// Handle is the library's state for one device.
type Handle struct{ handle unsafe.Pointer }

// NewHandle makes the handle of the device that is current on this thread.
func NewHandle() (Handle, error) {
	h := C.ringo_lt_handle()
	if h == nil {
		return Handle{}, fmt.Errorf("no cuBLASLt: %s", C.GoString(C.ringo_lt_why()))
	}
	return Handle{h}, nil
}

// Close frees the handle, after its plans.
func (h Handle) Close() { C.ringo_lt_close(h.handle) }

// Plan is a product bound to memory, with an algorithm.
type Plan struct{ plan *C.ringo_plan }

// ErrRefused says that the library has no algorithm for a product.
var ErrRefused = errors.New("cuBLASLt does not take this product")

// Enumerators of library_types.h, cublas_api.h and cublasLt.h.
const (
	r32F, r16BF                  = 0, 14
	compute32F, compute32FFast16 = 68, 75
	epilogueDefault              = 1
	epilogueBias                 = 4
	epilogueGelu                 = 32 // the tanh form
	epilogueAux                  = 128
	epilogueDGelu                = 64 | epilogueAux
	epilogueBGradA               = 256 // sums of A over k, for every row of D
)

// product turns a row-major product into the library's column-major one: C = A·B row by row is Cᵀ = Bᵀ·Aᵀ column by
// column, over the same memory. So B comes first, N is the number of rows, and a bias per column of C is one per row.
func product(g *kernels.Gemm) (C.ringo_product, error) {
	in, okIn := dataType(g.In)
	out, okOut := dataType(g.Out)
	if !okIn || !okOut {
		return C.ringo_product{}, ErrRefused
	}
	p := C.ringo_product{m: C.int(g.N), n: C.int(g.M), k: C.int(g.K), batch: C.int(max(1, g.Batch)), in: in, out: out,
		trans_a: truth(g.TransB), trans_b: truth(g.TransA), compute: compute32F, epilogue: epilogueDefault,
		lda: C.int64_t(g.LDB), ldb: C.int64_t(g.LDA), ldc: C.int64_t(g.LDC),
		step_a: C.int64_t(g.StepB), step_b: C.int64_t(g.StepA), step_c: C.int64_t(g.StepC),
		a: C.uint64_t(g.B), b: C.uint64_t(g.A), c: C.uint64_t(g.C), d: C.uint64_t(g.C), bias: C.uint64_t(g.Bias), aux: C.uint64_t(g.Aux),
		alpha: C.float(g.Alpha), beta: C.float(g.Beta)}
	if g.In == tensor.F32 && g.Round == tensor.BF16 {
		p.compute = compute32FFast16
	}
	if g.Add != kernels.Null {
		p.c = C.uint64_t(g.Add)
	}
	switch {
	case g.Sums != kernels.Null:
		p.epilogue, p.bias = epilogueBGradA, C.uint64_t(g.Sums)
	case g.DGelu:
		p.epilogue = epilogueDGelu
	case g.Gelu && g.Aux != kernels.Null:
		p.epilogue = epilogueGelu | epilogueAux
	case g.Gelu:
		p.epilogue = epilogueGelu
	}
	if g.Bias != kernels.Null {
		p.epilogue = p.epilogue&^epilogueDefault | epilogueBias
	}
	return p, nil
}

func dataType(d tensor.DType) (C.int, bool) {
	switch d {
	case tensor.F32:
		return r32F, true
	case tensor.BF16:
		return r16BF, true
	}
	return 0, false
}

func truth(b bool) C.int {
	if b {
		return 1
	}
	return 0
}

// NewPlan describes a product; workspace is WorkspaceBytes of device memory.
func NewPlan(h Handle, g *kernels.Gemm, workspace uint64) (*Plan, error) {
	p, err := product(g)
	if err != nil {
		return nil, err
	}
	q := C.ringo_plan_new(h.handle, &p, C.uint64_t(workspace), WorkspaceBytes)
	if q == nil {
		return nil, ErrRefused
	}
	return &Plan{q}, nil
}

// Algorithm is one way to compute a product, as the library encodes it.
type Algorithm [unsafe.Sizeof(C.ringo_algorithm{})]byte

// Ask returns up to max algorithms, best first by the library's estimate.
func (p *Plan) Ask(most int) []Algorithm {
	found := make([]C.ringo_algorithm, most)
	n := C.ringo_plan_ask(p.plan, &found[0], C.int(most))
	out := make([]Algorithm, n)
	for i := range out {
		out[i] = *(*Algorithm)(unsafe.Pointer(&found[i]))
	}
	return out
}

// Use chooses an algorithm.
func (p *Plan) Use(a Algorithm) {
	C.ringo_plan_use(p.plan, (*C.ringo_algorithm)(unsafe.Pointer(&a)))
}

// Time returns the shortest of some runs in milliseconds, false where the algorithm fails. It overwrites C.
func (p *Plan) Time(s cu.Stream, runs int) (float32, bool) {
	ms := C.ringo_plan_time(p.plan, *(*C.CUstream)(unsafe.Pointer(&s)), C.int(runs))
	return float32(ms), ms >= 0
}

// Call returns what driver.Commands.Call takes to enqueue the product.
func (p *Plan) Call() (call, what unsafe.Pointer) {
	return C.ringo_plan_run_address(), unsafe.Pointer(p.plan)
}

// Close frees the descriptors.
func (p *Plan) Close() {
	C.ringo_plan_free(p.plan)
	p.plan = nil
}
