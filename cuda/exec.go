//go:build cuda

package cuda

import (
	"errors"
	"fmt"
	"runtime"

	"gorgonia.org/cu"

	"ringo/cuda/driver"
	"ringo/kernels"
	"ringo/runtime/backend"
	"ringo/runtime/graph"
	"ringo/runtime/plan"
)

// exec is a program bound to device memory: a list of commands, and graphs captured from its phases.
type exec struct {
	d        *device
	p        *plan.Program
	base     [4]uint64
	memory   []uint64 // what Close frees
	staging  uint64
	scratch  uint64
	grad     uint64 // the Grad region
	partials uint64 // one copy of it per level
	needs    needs  // device memory
	binder   *binder
	starts   []int // first command of each instruction, and one past the last
	outs     [][]kernels.DeviceView
	inputs   map[string]*input
	outputs  map[string]kernels.DeviceView
	phases   []phase
	lanes    *binder         // saving and adding partial sums
	adds     map[laneKey]int // which command adds a range
	host     *driver.Pinned  // the gradient in host memory, from its first use
	err      error           // of a call that returns none, for the next that does
}

// phase is a range of instructions that runs as one captured graph: the lane phase, the stretches between
// gradient buckets, the update phase.
type phase struct {
	from, to int
	graph    *driver.Graph
}

var (
	_ backend.Executable = (*exec)(nil)
	_ backend.Gradient   = (*exec)(nil)
)

// prepare fills constants and finds outputs and inputs.
func (e *exec) prepare(c *compiling) error {
	e.inputs, e.outputs = map[string]*input{}, map[string]kernels.DeviceView{}
	if n := e.p.Sizes[plan.Grad]; n > 0 && e.binder.plans != nil { // products were timed there
		if err := cu.MemsetD8Async(cu.DevicePtr(e.grad), 0, n, e.d.compute); err != nil {
			return err
		}
	}
	for b, t := range e.p.Consts {
		v := c.view(plan.Ref{Buf: b, Type: graph.Type{DType: t.DType, Shape: t.Shape}})
		if len(t.Bytes()) > 0 {
			if err := e.d.move(v.Ptr, t.Bytes(), true); err != nil {
				return err
			}
		}
	}
	for name, r := range e.p.Outputs {
		e.outputs[name] = c.view(r)
	}
	if err := e.prepareInputs(c); err != nil {
		return err
	}
	if err := e.bindLanes(); err != nil {
		return err
	}
	return nil
}

// explain names the instruction whose command the driver refused. It is called between enter and leave.
func (e *exec) explain(err error) error {
	if err = e.d.fault(err); e.d.lost {
		return err
	}
	var f *driver.Failure
	if errors.As(err, &f) && f.Command < len(e.binder.labels) {
		return fmt.Errorf("cuda: %s: %w", e.binder.labels[f.Command], f.Err)
	}
	return fmt.Errorf("cuda: %w", err)
}

func (e *exec) Program() *plan.Program { return e.p }

// Run enqueues instructions [from,to) and returns at once; a whole phase goes as one graph.
func (e *exec) Run(from, to int) error {
	if e.err != nil {
		return e.err
	}
	e.d.Lock()
	runtime.LockOSThread()
	defer e.d.leave()
	if err := e.run(from, to); err != nil {
		return e.explain(err)
	}
	return nil
}

// Ranges shorter than minPhase go command by command, and so do new ones once maxPhases are captured: a search for
// a NaN runs instructions one by one.
const minPhase, maxPhases = 2, 64

// capturable reports whether a range of so many instructions and commands is worth a graph.
func (d *device) capturable(instrs, commands int) bool {
	return !d.ungraphed && instrs >= minPhase && commands >= minPhase
}

func (e *exec) run(from, to int) error {
	for i := range e.phases {
		if ph := &e.phases[i]; ph.from == from && ph.to == to {
			return ph.graph.Replay(e.d.ctx, e.d.compute)
		}
	}
	first, last := e.starts[from], e.starts[to]
	if !e.d.capturable(to-from, last-first) || len(e.phases) == maxPhases {
		return e.binder.commands.Run(first, last, e.d.ctx, e.d.compute)
	}
	graph, err := e.binder.commands.Capture(first, last, e.d.ctx, e.d.compute)
	if err != nil {
		return err
	}
	e.phases = append(e.phases, phase{from, to, graph})
	return graph.Replay(e.d.ctx, e.d.compute)
}

func (e *exec) Fetch(name string, raw []byte) error {
	v, ok := e.outputs[name]
	if !ok {
		return fmt.Errorf("cuda: the program has no output %q", name)
	}
	if len(raw) != v.Bytes() {
		return backend.CheckSize("output "+name, raw, int64(v.Bytes()))
	}
	return e.read(v, raw)
}

// read copies a view to host memory of its size.
func (e *exec) read(v kernels.DeviceView, raw []byte) error {
	if e.err != nil || len(raw) == 0 {
		return e.err
	}
	if err := e.d.enter(); err != nil {
		return err
	}
	defer e.d.leave()
	return e.d.move(v.Ptr, raw, false)
}

func (e *exec) Instruction(i, out int) ([]byte, error) {
	if i < 0 || i >= len(e.outs) || out < 0 || out >= len(e.outs[i]) {
		return nil, fmt.Errorf("cuda: instruction %d has no output %d", i, out)
	}
	v := e.outs[i][out]
	raw := make([]byte, v.Bytes())
	return raw, e.read(v, raw)
}

func (e *exec) Close() error {
	if err := e.d.enter(); err != nil {
		return err
	}
	defer e.d.leave()
	return e.release()
}

// release frees everything. It is called between enter and leave.
func (e *exec) release() error {
	var err error
	if !e.d.lost {
		err = e.releaseDevice()
	}
	if e.binder != nil {
		e.binder.close()
	}
	if e.lanes != nil {
		e.lanes.close()
	}
	e.memory, e.phases, e.inputs = nil, nil, nil
	return err
}

// releaseDevice waits for what was enqueued and gives the driver back what it holds.
func (e *exec) releaseDevice() error {
	errs := []error{e.d.compute.Synchronize(), e.d.copies.Synchronize()}
	for _, ph := range e.phases {
		errs = append(errs, ph.graph.Close())
	}
	for _, in := range e.inputs {
		errs = append(errs, in.close())
	}
	if e.host != nil {
		errs = append(errs, e.host.Close())
	}
	for _, p := range e.memory {
		errs = append(errs, e.d.free(p))
	}
	return errors.Join(errs...)
}
