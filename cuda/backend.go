//go:build cuda

package cuda

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"gorgonia.org/cu"

	"ringo/cuda/driver"
	"ringo/cuda/soft"
	"ringo/kernels"
	"ringo/runtime/backend"
	"ringo/runtime/plan"
)

// Backend runs programs on one GPU, or on the software CUDA device.
type Backend struct{ d *device }

var (
	_ backend.Backend   = (*Backend)(nil)
	_ backend.Tuner     = (*Backend)(nil)
	_ backend.Versioned = (*Backend)(nil)
)

func init() {
	register("cuda", func() (string, error) { return "", nil })
	register("soft", soft.Library)
}

// register enters a device whose driver library is found by find.
func register(name string, find func() (string, error)) {
	backend.Register(name, func(spec string, _ backend.Options) (backend.Backend, error) {
		library, err := find()
		if err != nil {
			return nil, err
		}
		b, err := Open(spec, library)
		if err != nil {
			return nil, err // not b: a nil pointer in an interface is not nil
		}
		return b, nil
	})
}

// Open opens device number spec ("" means 0) of a driver library: "" is the system's, else the software device's
// path. It returns an error that says why where there is no driver or no such device.
func Open(spec, library string) (*Backend, error) {
	what, ordinal := "cuda", 0
	if library != "" {
		what = "soft"
	}
	if spec != "" {
		var err error
		if ordinal, err = strconv.Atoi(spec); err != nil {
			return nil, fmt.Errorf("device %s:%s: write the device's number, such as %s:0", what, spec, what)
		}
	}
	if err := driver.Open(library); err != nil {
		return nil, fmt.Errorf("device %s: %w%s", what, err, hidden())
	}
	d, err := openDevice(ordinal, library != "")
	if err != nil {
		return nil, fmt.Errorf("device %s: %w", what, err)
	}
	return &Backend{d}, nil
}

// Name is "cuda" or "soft".
func (b *Backend) Name() string {
	if b.d.soft {
		return "soft"
	}
	return "cuda"
}

// Describe names the GPU, its memory, the library of its products and which kernels a trial refused, or says plainly that there
// is no GPU.
func (b *Backend) Describe() string {
	if b.d.soft {
		return fmt.Sprintf("soft:%d, a software simulation of a CUDA device on the CPU: for tests, slow, its times mean nothing", b.d.ordinal)
	}
	total, _ := b.d.ordinal.TotalMem()
	what := fmt.Sprintf("cuda:%d, %s, %d GiB, %d multiprocessors, driver for CUDA %d.%d, products by %s",
		b.d.ordinal, b.d.name, total>>30, b.d.info.SMs, cu.Version()/1000, cu.Version()%1000/10, b.d.products.by)
	return strings.Join(append([]string{what}, b.d.versions.said...), "; ")
}

// Versions names the kinds of kernels that this device has several versions of; which it takes is tried out where nothing is forced.
func (b *Backend) Versions() []string { return versionNames(b.d.info) }

// Force makes programs that are compiled from now on take versions of one name, "" those that a trial finds fastest.
func (b *Backend) Force(name string) error {
	b.d.Lock()
	defer b.d.Unlock()
	return b.d.force(name)
}

// Close gives back what the device holds. Programs and stores are closed before.
func (b *Backend) Close() error {
	if err := b.d.enter(); err != nil {
		return err
	}
	defer b.d.leave()
	if b.d.lost {
		return nil
	}
	errs := []error{b.d.compute.Synchronize(), b.d.copies.Synchronize(), b.d.small.Close(), b.d.free(b.d.products.workspace)}
	if b.d.products.version != 0 {
		b.d.products.handle.Close()
	}
	for _, m := range b.d.modules {
		errs = append(errs, m.Unload())
	}
	errs = append(errs, b.d.compute.Destroy(), b.d.copies.Destroy(), b.d.ordinal.ReleasePrimaryCtx())
	return errors.Join(errs...)
}

// Tune keeps activations in what products round to, as a GPU's memory and its bandwidth are what limits a step, and leaves out what
// cuBLASLt does better: gelu's gradient belongs to its products, from gelu's input. Products want rows of logits on 16 bytes
// and add up a factor's rows as they go; with 16,384 rows of logits, 1.5 GiB for 50,257 words, they are as fast as with more.
func (b *Backend) Tune(o *plan.Options) {
	o.PadClasses, o.BiasInProduct, o.HalfGradients = true, true, true
	o.Logits = plan.Logits{Bytes: 3 << 29, Rows: 8192}
	o.Storage, o.Disable = o.Precision, slices.Concat(o.Disable, []string{"keep-slope"})
}

// NewStore returns an empty store on the device.
func (b *Backend) NewStore() backend.Store {
	return &store{d: b.d, byName: map[string]kernels.DeviceView{}}
}

// Compile binds every instruction to device memory and captures the program's phases.
func (b *Backend) Compile(p *plan.Program, s backend.Store) (backend.Executable, error) {
	st, ok := s.(*store)
	if !ok || st.d != b.d {
		return nil, fmt.Errorf("cuda: the store belongs to another backend")
	}
	missing, err := st.missing(p)
	if err != nil {
		return nil, fmt.Errorf("cuda: %w", err)
	}
	if err := b.d.enter(); err != nil {
		return nil, err
	}
	defer b.d.leave()
	e, err := (&compiling{d: b.d, p: p, store: st, missing: missing}).compile()
	if err != nil {
		return nil, err
	}
	return e, nil
}
