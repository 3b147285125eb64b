//go:build cuda

package cuda

import (
	"fmt"
	"runtime"
	"unsafe"

	"gorgonia.org/cu"

	"ringo/kernels"
	"ringo/runtime/backend"
	"ringo/runtime/plan"
	"ringo/runtime/tensor"
)

// store keeps persistent tensors on the device. Each program that brings new ones adds an arena, laid out as
// that program planned it, so that groups of parameters lie end to end.
type store struct {
	d      *device
	byName map[string]kernels.DeviceView
	arenas []uint64
}

var _ backend.Store = (*store)(nil)

func (s *store) Has(name string) bool { _, ok := s.byName[name]; return ok }

func (s *store) Write(name string, raw []byte) error { return s.move(name, raw, true) }
func (s *store) Read(name string, raw []byte) error  { return s.move(name, raw, false) }

func (s *store) move(name string, raw []byte, in bool) error {
	v, ok := s.byName[name]
	if !ok {
		return fmt.Errorf("cuda: no tensor %q in the store", name)
	}
	if err := backend.CheckSize("tensor "+name, raw, int64(v.Bytes())); err != nil || len(raw) == 0 {
		return err
	}
	if err := s.d.enter(); err != nil {
		return err
	}
	defer s.d.leave()
	return s.d.move(v.Ptr, raw, in)
}

// FillNormal draws initial values in host memory, on the CPU.
func (s *store) FillNormal(dst []float32, p tensor.Philox, mean, std float32) {
	kernels.FillNormal(dst, p, mean, std)
}

// move copies between host memory and the device, in the order of the compute stream, and waits. Small pieces go through
// page-locked memory: that is quicker, and such a slice may lie inside a Go object with pointers, which cgo refuses to pass.
func (d *device) move(at uint64, raw []byte, in bool) error {
	through := raw
	if len(raw) <= smallBytes {
		through = d.small.Bytes[:len(raw)]
	}
	if in {
		copy(through, raw)
	}
	host, n := unsafe.Pointer(unsafe.SliceData(through)), int64(len(raw))
	var err error
	if in {
		err = cu.MemcpyHtoDAsync(cu.DevicePtr(at), host, n, d.compute)
	} else {
		err = cu.MemcpyDtoHAsync(host, cu.DevicePtr(at), n, d.compute)
	}
	if err == nil {
		err = d.compute.Synchronize()
	}
	runtime.KeepAlive(raw) // a driver that reads pageable memory in place may do so after the call that enqueues has returned
	if err == nil && !in {
		copy(raw, through)
	}
	return d.fault(err)
}

func (s *store) Close() error {
	if err := s.d.enter(); err != nil {
		return err
	}
	defer s.d.leave()
	for _, a := range s.arenas {
		if s.d.lost {
			break
		}
		if err := s.d.free(a); err != nil {
			return err
		}
	}
	s.byName, s.arenas = nil, nil
	return nil
}

// missing returns the program's tensors that the store lacks, and refuses programs that do not fit.
func (s *store) missing(p *plan.Program) ([]plan.Tensor, error) {
	have := map[string]tensor.Shape{}
	for n, v := range s.byName {
		have[n] = v.Shape
	}
	missing, err := backend.StoreLayout(p, have)
	if err == nil && p.Flat && len(missing) < len(p.Tensors) {
		err = fmt.Errorf("the store holds tensors already: a training program lays them end to end, so compile it first")
	}
	return missing, err
}

// add enters a program's new tensors; base is the address of its Persist region.
func (s *store) add(p *plan.Program, missing []plan.Tensor, base uint64) {
	s.arenas = append(s.arenas, base)
	for _, t := range missing {
		s.byName[t.Name] = kernels.DeviceView{Type: t.Type, Ptr: base + uint64(p.Buffers[t.Buf].Offset)}
	}
}
