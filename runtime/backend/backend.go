// Package backend owns the contract between planned programs and devices: the Backend interface, the
// registry, the null backend that plans and checks but computes nothing, and in backendtest the compliance
// suite that every backend runs. It must not know of models or training.
package backend

import (
	"fmt"
	"io"
	"sort"
	"strings"

	"ringo/runtime/plan"
	"ringo/runtime/tensor"
)

// Backend runs programs on one device. Its methods may be called from several goroutines.
type Backend interface {
	// Name is the registered name, such as "cpu".
	Name() string
	// Describe says in one line what device this is and what it uses of it.
	Describe() string
	// NewStore returns empty persistent memory on the device.
	NewStore() Store
	// Compile binds a program to memory: the store's tensors by name, allocated where missing, and an arena
	// of its own for the rest. It returns an error where an op has no kernel, a stored tensor has another
	// type, or memory is short.
	Compile(p *plan.Program, s Store) (Executable, error)
	Close() error
}

// Usage is what a GPU's sensors say; NaN, or 0 bytes, where one says nothing.
type Usage struct {
	Busy         float64 // part of the time that a kernel ran, of the last second or so
	MemoryBytes  int64   // in use, by all processes
	PowerW       float64
	TemperatureC float64
}

// Monitor is a Backend whose device has sensors; ok is false where they cannot be read.
type Monitor interface {
	Usage() (u Usage, ok bool)
}

// Tuner is a Backend that has a say in how its programs are planned: what activations are kept in when products may round their
// factors, which fusions it has kernels for, which passes it does better without.
type Tuner interface {
	Tune(o *plan.Options)
}

// Versioned is a Backend that has several versions of some kernels and finds out which are fastest. Force makes programs compiled from
// then on take those of one of its names; "" lets it choose again.
type Versioned interface {
	Versions() []string
	Force(name string) error
}

// Tuned returns the options for a program of b.
func Tuned(b Backend, o plan.Options) plan.Options {
	if t, ok := b.(Tuner); ok {
		t.Tune(&o)
	}
	return o
}

// Store is persistent memory: parameters, states and optimizer slots by name. Programs that share a store
// share its tensors. It is not safe for concurrent use.
type Store interface {
	// Has reports whether a tensor is there.
	Has(name string) bool
	// Write replaces the contents of a tensor; raw has exactly its bytes.
	Write(name string, raw []byte) error
	// Read copies the contents of a tensor to raw.
	Read(name string, raw []byte) error
	Close() error
}

// Executable is a program bound to memory. It is not safe for concurrent use.
type Executable interface {
	// Program is what was compiled.
	Program() *plan.Program
	// Feed copies raw to the input with the given name.
	Feed(name string, raw []byte) error
	// Run executes instructions [from,to).
	Run(from, to int) error
	// Fetch copies an output to raw, after everything that was run.
	Fetch(name string, raw []byte) error
	// Gradient reads and writes the Grad region, for sums over lanes and workers.
	Gradient() Gradient
	// Instruction reads output i of an instruction that has just run, as raw bytes, to find where numbers go wrong.
	Instruction(instr, i int) ([]byte, error)
	Close() error
}

// Explainer is an Executable that can say more than its plan about how a step runs, such as what a device is given at once.
type Explainer interface {
	Explain(w io.Writer)
}

// Gradient is the Grad region of an executable as one flat float32 array (see plan.Program), with the partial sums that
// lanes need. Ranges [from,to) count elements. A range that is the same at every step costs no allocation after the first.
type Gradient interface {
	// Len is the number of elements, alignment included.
	Len() int
	// Save copies the gradient to partial sum `level`.
	Save(level int)
	// Add adds a range of partial sum `level` to the gradient: gradient ← partial + gradient.
	Add(level, from, to int)
	// Host returns a range in host memory after everything that was run: the memory itself where the device is the
	// host, else a copy that Commit brings back.
	Host(from, to int) ([]float32, error)
	// Commit makes what the host wrote to a range the device's.
	Commit(from, to int) error
}

// Options chooses a device.
type Options struct {
	Threads int // 0 means one per CPU
	// Reference runs the plain float64 reference of every op in place of the fast kernels.
	Reference bool
	// Memory, where given, maps n zeroed bytes that other workers can reach, and returns what frees them. The CPU keeps gradients that
	// workers sum there (plan.Program.Flag), so that sums need not move them; after an error they are in its own memory.
	Memory func(n int) (mem []byte, free func() error, err error)
}

// factories is the table of backends; filled by init functions only.
var factories = map[string]func(spec string, o Options) (Backend, error){}

// Register adds a backend under a name; spec is what follows the colon in a device such as "cuda:1".
func Register(name string, open func(spec string, o Options) (Backend, error)) {
	if factories[name] != nil {
		panic("backend: " + name + " registered twice")
	}
	factories[name] = open
}

// Names lists the backends built into this binary.
func Names() []string {
	var out []string
	for n := range factories {
		out = append(out, n)
	}
	sort.Strings(out)
	return out
}

// fallback is the CPU in place of a GPU that is not there: its description says why.
type fallback struct {
	Backend
	why error
}

// Tune asks the CPU.
func (f fallback) Tune(o *plan.Options) { *o = Tuned(f.Backend, *o) }

func (f fallback) Describe() string {
	return fmt.Sprintf("%s (no GPU is used: %v)", f.Backend.Describe(), f.why)
}

// Open returns the backend for a device such as "cpu", "cuda:1" or "null". "auto" takes a GPU where there
// is one and the CPU otherwise, whose description then says why.
func Open(device string, o Options) (Backend, error) {
	name, spec, _ := strings.Cut(device, ":")
	if name == "auto" || name == "" {
		if open := factories["cuda"]; open != nil {
			b, err := open(spec, o)
			if err == nil {
				return b, nil
			}
			b, cpuErr := Open("cpu", o)
			return fallback{b, err}, cpuErr
		}
		name = "cpu"
	}
	open := factories[name]
	if open == nil {
		return nil, fmt.Errorf("device %q is not in this binary: expected auto or one of %s", device, strings.Join(Names(), ", "))
	}
	return open(spec, o)
}

// CheckSize returns an error unless raw has the bytes of what it is for.
func CheckSize(what string, raw []byte, want int64) error {
	if int64(len(raw)) != want {
		return fmt.Errorf("%s: %d bytes, expected %d", what, len(raw), want)
	}
	return nil
}

// StoreLayout checks a program's persistent tensors against what a store holds and returns those missing.
func StoreLayout(p *plan.Program, have map[string]tensor.Shape) (missing []plan.Tensor, err error) {
	for _, t := range p.Tensors {
		shape, ok := have[t.Name]
		if !ok {
			missing = append(missing, t)
		} else if !shape.Equal(t.Type.Shape) {
			return nil, fmt.Errorf("tensor %q has shape %v in the store, the program expects %v", t.Name, shape, t.Type.Shape)
		}
	}
	return missing, nil
}
