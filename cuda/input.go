//go:build cuda

package cuda

import (
	"errors"
	"fmt"
	"unsafe"

	"gorgonia.org/cu"

	"ringo/cuda/driver"
	"ringo/kernels"
	"ringo/runtime/backend"
	"ringo/runtime/plan"
)

// stages is how many copies of an input may be on their way: while the device reads one, the next one travels.
const stages = 2

// input is the way of one input to the device:
//
//	caller ─copy─▶ pinned[s] ─copies stream─▶ staged[s] ─compute stream─▶ target
//
// The second copy overlaps with the program that runs, the third waits for it and is short. arrived[s]: staged[s] is
// complete, and pinned[s] may be written again. taken[s]: target has it, and staged[s] may be written again.
type input struct {
	d       *device
	target  kernels.DeviceView
	pinned  [stages]*driver.Pinned
	staged  [stages]cu.DevicePtr
	arrived [stages]cu.Event
	taken   [stages]cu.Event
	fed     int // how often
}

// prepareInputs gives every input its share of the staging memory.
func (e *exec) prepareInputs(c *compiling) error {
	for name, r := range e.p.Inputs {
		in := &input{d: e.d, target: c.view(r)}
		e.inputs[name] = in
		for s := range stages {
			at := int64(s)*e.p.Sizes[plan.Input] + e.p.Buffers[r.Buf].Offset
			in.staged[s] = cu.DevicePtr(e.staging + uint64(at))
			var err error
			if in.pinned[s], err = driver.NewPinned(int64(r.Type.Bytes())); err != nil {
				return err
			}
			if in.arrived[s], err = cu.MakeEvent(cu.DisableTiming); err != nil {
				return err
			}
			if in.taken[s], err = cu.MakeEvent(cu.DisableTiming); err != nil {
				return err
			}
		}
	}
	return nil
}

func (e *exec) Feed(name string, raw []byte) error {
	in := e.inputs[name]
	if in == nil {
		return fmt.Errorf("cuda: the program has no input %q", name)
	}
	if len(raw) != in.target.Bytes() {
		return backend.CheckSize("input "+name, raw, int64(in.target.Bytes()))
	}
	if e.err != nil || len(raw) == 0 {
		return e.err
	}
	if err := e.d.enter(); err != nil {
		return err
	}
	defer e.d.leave()
	return e.d.fault(in.feed(raw))
}

// feed waits only where the same slot is still on its way from two feeds ago.
func (in *input) feed(raw []byte) error {
	s, n := in.fed%stages, int64(len(raw))
	if in.fed >= stages {
		if err := in.arrived[s].Synchronize(); err != nil {
			return err
		}
		if err := in.d.copies.Wait(in.taken[s], 0); err != nil {
			return err
		}
	}
	in.fed++
	copy(in.pinned[s].Bytes, raw)
	if err := cu.MemcpyHtoDAsync(in.staged[s], unsafe.Pointer(unsafe.SliceData(in.pinned[s].Bytes)), n, in.d.copies); err != nil {
		return err
	}
	if err := in.arrived[s].Record(in.d.copies); err != nil {
		return err
	}
	if err := in.d.compute.Wait(in.arrived[s], 0); err != nil {
		return err
	}
	if err := cu.MemcpyDtoDAsync(cu.DevicePtr(in.target.Ptr), in.staged[s], n, in.d.compute); err != nil {
		return err
	}
	return in.taken[s].Record(in.d.compute)
}

func (in *input) close() error {
	var errs []error
	for s := range stages {
		if in.pinned[s] != nil {
			errs = append(errs, in.pinned[s].Close())
		}
		errs = append(errs, destroy(&in.arrived[s]), destroy(&in.taken[s]))
	}
	return errors.Join(errs...)
}

func destroy(e *cu.Event) error {
	if *e == (cu.Event{}) {
		return nil
	}
	return cu.DestroyEvent(e)
}
