//go:build cuda

package cuda

import (
	"errors"
	"fmt"
	"math/bits"
	"os"

	"gorgonia.org/cu"

	"ringo/cuda/driver"
	"ringo/kernels"
	"ringo/runtime/plan"
)

// compiling is a program on its way to an executable.
type compiling struct {
	d       *device
	p       *plan.Program
	store   *store
	missing []plan.Tensor
	base    [4]uint64 // address of each region
	apart   []uint64  // address of each buffer, where buffers are allocated one by one
}

// fakeBase stands for memory that is not allocated yet, on the pass that only checks and counts. Regions are far
// enough apart for programs of any size.
func fakeBase(r plan.Region) uint64 { return uint64(r+1) << 44 }

// view resolves a reference. A persistent tensor that another program brought is found by name.
func (c *compiling) view(r plan.Ref) kernels.DeviceView {
	b := c.p.Buffers[r.Buf]
	if b.Region == plan.Persist {
		if v, ok := c.store.byName[b.Name]; ok && int64(v.Bytes()) == b.Bytes {
			return kernels.DeviceView{Type: r.Type, Ptr: v.Ptr + uint64(r.Offset)}
		}
	}
	if c.apart != nil && b.Region != plan.Persist {
		return kernels.DeviceView{Type: r.Type, Ptr: c.apart[r.Buf] + uint64(r.Offset)}
	}
	return kernels.DeviceView{Type: r.Type, Ptr: c.base[b.Region] + uint64(b.Offset+r.Offset)}
}

// bind describes every instruction to the binder and returns where each one's commands start, and its outputs.
func (c *compiling) bind(b *binder) (starts []int, outs [][]kernels.DeviceView, err error) {
	for i := range c.p.Instrs {
		in := &c.p.Instrs[i]
		call := &kernels.DeviceCall{Op: in.Op.Name, Attrs: in.Attrs, Precision: c.p.Precision, Device: c.d.info, Queue: b}
		for _, r := range in.In {
			call.In = append(call.In, c.view(r))
		}
		for _, r := range in.Out {
			call.Out = append(call.Out, c.view(r))
		}
		b.begin(in.Op.Name + " " + in.Name)
		if b.commands != nil {
			starts = append(starts, b.commands.Len())
		}
		if err := kernels.BindDevice(call); err != nil {
			return nil, nil, fmt.Errorf("%s: %w", in.Name, err)
		}
		outs = append(outs, call.Out)
	}
	if b.commands != nil {
		starts = append(starts, b.commands.Len())
	}
	return starts, outs, nil
}

// levels is how many partial sums over lanes a program can have waiting; see runtime.Step.
func levels(p *plan.Program) int { return bits.Len(uint(p.Lanes)) - 1 }

// needs counts the device memory of a program.
type needs struct{ persist, input, staging, grad, partial, work, scratch int64 }

func (n needs) total() int64 {
	return n.persist + n.input + n.staging + n.grad + n.partial + n.work + n.scratch
}

func (c *compiling) needs(scratch int64) needs {
	n := needs{input: c.p.Sizes[plan.Input], grad: c.p.Sizes[plan.Grad], work: c.p.Sizes[plan.Work], scratch: scratch}
	n.staging = stages * n.input
	n.partial = int64(levels(c.p)) * n.grad
	if len(c.missing) > 0 {
		n.persist = c.p.Sizes[plan.Persist]
	}
	return n
}

// fits refuses a program that does not fit, before anything is allocated, and says what to reduce.
func (c *compiling) fits(n needs) error {
	free, total, err := cu.MemInfo()
	if err != nil {
		return err
	}
	if n.total() <= free {
		return nil
	}
	const mib = 1 << 20
	return fmt.Errorf("cuda: the program needs %v, %s has %d MiB free of %d: "+
		"raise train.lanes or lower train.batch for smaller activations, set train.recompute, use a smaller model, or --device cpu: %w",
		n, c.d.name, free/mib, total/mib, driver.OutOfMemory)
}

// separate allocates every buffer on its own, without reuse, so that an access beyond one is an access beyond an
// allocation: for tests with a memory checker. Flat updates need buffers end to end.
func separate(p *plan.Program) bool { return os.Getenv("RINGO_CUDA_SEPARATE") == "1" && !p.Flat }

// compile binds a program. It is called between enter and leave.
func (c *compiling) compile() (*exec, error) {
	for r := range c.base {
		c.base[r] = fakeBase(plan.Region(r))
	}
	count := &binder{d: c.d, scratch: uint64(1) << 50}
	if _, _, err := c.bind(count); err != nil {
		return nil, err
	}
	n := c.needs(count.peak)
	if err := c.fits(n); err != nil {
		return nil, err
	}
	e := &exec{d: c.d, p: c.p, needs: n}
	if err := e.allocate(c, n); err != nil {
		return nil, errors.Join(err, e.release())
	}
	if !c.d.soft { // whose memory starts as NaN, to be found
		if err := c.d.noise(c.base[plan.Work], n.work); err != nil {
			return nil, errors.Join(err, e.release())
		}
	}
	e.binder = &binder{d: c.d, commands: &driver.Commands{}, scratch: e.scratch}
	var err error
	if e.starts, e.outs, err = c.bind(e.binder); err == nil && e.binder.peak > count.peak {
		err = fmt.Errorf("cuda: %d bytes of scratch memory were counted, %d are used", count.peak, e.binder.peak)
	}
	if err == nil {
		err = e.prepare(c)
	}
	if err != nil {
		return nil, errors.Join(err, e.release())
	}
	return e, nil
}

// allocate takes the memory and tells the program's regions and the store where they are.
func (e *exec) allocate(c *compiling, n needs) (err error) {
	take := func(bytes int64, zero bool) (p uint64) {
		if err == nil {
			if p, err = e.d.allocate(bytes, zero); err != nil {
				err = fmt.Errorf("cuda: %d bytes of device memory: %w", bytes, err)
			} else if p != 0 {
				e.memory = append(e.memory, p)
			}
		}
		return p
	}
	c.base[plan.Input] = take(n.input, false)
	c.base[plan.Grad] = take(n.grad, true)
	c.base[plan.Work] = take(n.work, false)
	e.staging, e.partials, e.scratch = take(n.staging, false), take(n.partial, false), take(n.scratch, false)
	e.grad, e.base = c.base[plan.Grad], c.base
	if separate(c.p) {
		c.apart = make([]uint64, len(c.p.Buffers))
		for i, b := range c.p.Buffers {
			if b.Region != plan.Persist {
				c.apart[i] = take(b.Bytes, b.Region == plan.Grad)
			}
		}
	}
	if n.persist > 0 && err == nil {
		if c.base[plan.Persist], err = e.d.allocate(n.persist, true); err == nil {
			c.store.add(c.p, c.missing, c.base[plan.Persist])
		}
	}
	return err
}
