package kernels

import (
	"fmt"
	"runtime"
	"unsafe"

	"ringo/runtime/backend"
	"ringo/runtime/graph"
	"ringo/runtime/plan"
	"ringo/runtime/tensor"
)

// CPU is the CPU backend. Its thread pool is the process's; programs of several goroutines take turns on it.
type CPU struct {
	reference bool
	memory    func(n int) ([]byte, func() error, error)
}

func init() {
	backend.Register("cpu", func(spec string, o backend.Options) (backend.Backend, error) {
		if spec != "" {
			return nil, fmt.Errorf("device cpu:%s: there is one CPU device; write cpu", spec)
		}
		return NewCPU(o), nil
	})
}

var (
	_ backend.Backend = (*CPU)(nil)
	_ backend.Tuner   = (*CPU)(nil)
)

// NewCPU starts the thread pool where it is not running yet.
func NewCPU(o backend.Options) *CPU {
	Init(o.Threads)
	return &CPU{reference: o.Reference, memory: o.Memory}
}

func (*CPU) Name() string { return "cpu" }

// Describe names the instruction set in use and the threads.
func (*CPU) Describe() string { return fmt.Sprintf("cpu, %s, %d threads", ISA(), Threads()) }
func (*CPU) Close() error     { return nil }

// updateMost bounds the second factor of fp32 products that move their parameter. Of its numbers six bytes stay in the second-level
// cache while three arrays of the update stream through: with 128×784 numbers the step of a perceptron gains 5 %, with 256×768 and
// more that of a GPT loses 8 %.
const updateMost = 1 << 17

// Tune asks for what the C kernels have. It leaves logits in one piece: in chunks of rows the classifier's weight cannot be moved by the
// product that is its gradient, and a step of GPT-2 124M takes 0 to 8 % longer with 4096 rows in four, a fifth with 256 in two.
func (c *CPU) Tune(o *plan.Options) {
	if c.reference {
		return
	}
	bf16, amx := o.Precision == tensor.BF16, hasAMX()
	o.FuseUpdate, o.Blocks, o.BiasInProduct = bf16 || amx, bf16 && amx, !bf16 && amx
	o.HalfFactors = bf16 && amx
	if !bf16 {
		o.UpdateMost = updateMost
	}
}

// NewStore returns an empty store.
func (*CPU) NewStore() backend.Store { return &store{byName: map[string]View{}, changes: 1} }

// store keeps persistent tensors. Each program that brings new ones adds an arena, laid out as that program
// planned it, so that groups of parameters lie end to end.
type store struct {
	byName map[string]View
	arenas []*Arena
	// changes counts whatever may have changed a parameter: writes from outside, and phases of programs that move parameters.
	changes uint64
}

func (s *store) Has(name string) bool { _, ok := s.byName[name]; return ok }

func (s *store) Write(name string, raw []byte) error { return s.move(name, raw, true) }
func (s *store) Read(name string, raw []byte) error  { return s.move(name, raw, false) }

func (s *store) move(name string, raw []byte, in bool) error {
	v, ok := s.byName[name]
	if !ok {
		return fmt.Errorf("cpu: no tensor %q in the store", name)
	}
	if err := backend.CheckSize("tensor "+name, raw, int64(len(v.Bytes))); err != nil {
		return err
	}
	if in {
		s.changes++
		copy(v.Bytes, raw)
	} else {
		copy(raw, v.Bytes)
	}
	return nil
}

func (s *store) Close() error {
	for _, a := range s.arenas {
		if err := a.Close(); err != nil {
			return err
		}
	}
	s.byName, s.arenas = nil, nil
	return nil
}

// bind returns the base address of the program's Persist region and the tensors that already lie elsewhere.
func (s *store) bind(p *plan.Program) (region []byte, err error) {
	have := map[string]tensor.Shape{}
	for n, v := range s.byName {
		have[n] = v.Shape
	}
	missing, err := backend.StoreLayout(p, have)
	if err != nil || len(missing) == 0 && !p.Flat {
		return nil, err
	}
	if p.Flat && len(missing) < len(p.Tensors) {
		return nil, fmt.Errorf("the store holds tensors already: a training program lays them end to end, so compile it first")
	}
	a, err := NewArena(int(p.Sizes[plan.Persist]))
	if err != nil {
		return nil, err
	}
	s.arenas = append(s.arenas, a)
	for _, t := range missing {
		b := p.Buffers[t.Buf]
		s.byName[t.Name] = View{t.Type, a.Bytes[b.Offset : b.Offset+b.Bytes]}
	}
	return a.Bytes, nil
}

// exec is a program bound to memory.
type exec struct {
	p       *plan.Program
	mem     [4][]byte // per region; Persist only where this program brought it
	store   *store
	work    *Arena
	shared  func() error // frees the Grad region, where it is apart
	calls   *sequence    // one per instruction
	blocks  []*blocked
	moves   [2]int // from the first to behind the last instruction that changes a parameter
	outs    [][]View
	partial []partial
	grad    View
	consts  *constants
	yields  yields
}

// Compile binds every instruction to its memory.
func (c *CPU) Compile(p *plan.Program, s backend.Store) (backend.Executable, error) {
	st, ok := s.(*store)
	if !ok {
		return nil, fmt.Errorf("cpu: the store belongs to another backend")
	}
	persist, err := st.bind(p)
	if err != nil {
		return nil, fmt.Errorf("cpu: %w", err)
	}
	e := &exec{p: p, store: st, consts: pin(p)}
	e.mem[plan.Persist] = persist
	if err := e.allocate(c.memory); err != nil {
		return nil, fmt.Errorf("cpu: %w", err)
	}
	e.grad = View{graph.Type{DType: tensor.F32, Shape: tensor.Shape{len(e.mem[plan.Grad]) / 4}}, e.mem[plan.Grad]}
	return e, e.bind(c.reference)
}

func (e *exec) bind(reference bool) error {
	var runs []func()
	var natives []native
	e.moves[0] = len(e.p.Instrs)
	for i := range e.p.Instrs {
		in := &e.p.Instrs[i]
		call := &Call{Op: in.Op.Name, Attrs: in.Attrs, Precision: e.p.Precision}
		for _, r := range in.In {
			call.In = append(call.In, e.view(r))
			call.Const = append(call.Const, e.p.Consts[r.Buf] != nil)
		}
		for _, r := range in.Out {
			call.Out = append(call.Out, e.view(r))
		}
		run, err := Bind(call, reference)
		if err != nil {
			return fmt.Errorf("%s: %w", in.Name, err)
		}
		if call.Op == "blocks" {
			run, call.native = e.whenChanged(i, run), native{}
		}
		if len(in.Op.Mutates) > 0 {
			e.moves = [2]int{min(e.moves[0], i), i + 1}
		}
		runs, natives = append(runs, run), append(natives, call.native)
		e.outs = append(e.outs, call.Out)
	}
	e.calls = newSequence(runs, natives)
	return nil
}

// view resolves a reference. A constant is read where it lies: its part of the arena is never touched. A persistent
// tensor that another program brought is found by name.
func (e *exec) view(r plan.Ref) View {
	n := int64(r.Type.Bytes())
	part := func(of []byte, at int64) View { return View{r.Type, of[at+r.Offset:][:n:n]} }
	if t := e.p.Consts[r.Buf]; t != nil {
		return part(t.Bytes(), 0)
	}
	b := e.p.Buffers[r.Buf]
	if b.Region == plan.Persist {
		base, ok := e.store.byName[b.Name]
		if ok && int64(len(base.Bytes)) == b.Bytes {
			return part(base.Bytes, 0)
		}
	}
	return part(e.mem[b.Region], b.Offset)
}

// constants keeps a program's constants from moving: kernels hold pointers to them.
type constants struct{ pins runtime.Pinner }

func pin(p *plan.Program) *constants {
	c := &constants{}
	for _, t := range p.Consts {
		if b := t.Bytes(); len(b) > 0 {
			c.pins.Pin(unsafe.SliceData(b))
		}
	}
	runtime.SetFinalizer(c, func(c *constants) { c.pins.Unpin() }) // of programs that nobody closed
	return c
}

func (e *exec) Program() *plan.Program { return e.p }

func (e *exec) Feed(name string, raw []byte) error {
	r, ok := e.p.Inputs[name]
	if !ok {
		return fmt.Errorf("cpu: the program has no input %q", name)
	}
	v := e.view(r)
	if len(raw) != len(v.Bytes) {
		return backend.CheckSize("input "+name, raw, int64(len(v.Bytes)))
	}
	copy(v.Bytes, raw)
	return nil
}

func (e *exec) Fetch(name string, raw []byte) error {
	r, ok := e.p.Outputs[name]
	if !ok {
		return fmt.Errorf("cpu: the program has no output %q", name)
	}
	v := e.view(r)
	if len(raw) != len(v.Bytes) {
		return backend.CheckSize("output "+name, raw, int64(len(v.Bytes)))
	}
	copy(raw, v.Bytes)
	return nil
}

// Run holds the OS thread: per-thread scratch and tile state of the kernels stay in place.
func (e *exec) Run(from, to int) error {
	e.yields.now()
	runtime.LockOSThread()
	e.calls.run(from, to)
	runtime.UnlockOSThread()
	if from < e.moves[1] && to > e.moves[0] {
		e.moved()
	}
	return nil
}

func (e *exec) Instruction(i, out int) ([]byte, error) {
	if i < 0 || i >= len(e.outs) || out < 0 || out >= len(e.outs[i]) {
		return nil, fmt.Errorf("cpu: instruction %d has no output %d", i, out)
	}
	return e.outs[i][out].Bytes, nil
}

func (e *exec) Close() error {
	e.consts.pins.Unpin()
	if err := e.freeShared(); err != nil {
		return err
	}
	for _, l := range e.partial {
		if err := l.mem.Close(); err != nil {
			return err
		}
	}
	return e.work.Close()
}

var _ backend.Executable = (*exec)(nil)

// Bytes returns a tensor's memory, nil where there is none of that name. The caller may write to it until a program runs.
func (s *store) Bytes(name string) []byte {
	s.changes++
	return s.byName[name].Bytes
}
