package kernels

import (
	"errors"

	"ringo/runtime/backend"
	"ringo/runtime/graph"
	"ringo/runtime/plan"
	"ringo/runtime/tensor"
)

// allocate gives every region but Persist its memory: the gradient that workers sum in shared memory, where there is such.
func (e *exec) allocate(shared func(n int) ([]byte, func() error, error)) (err error) {
	regions, total := []plan.Region{plan.Input, plan.Grad, plan.Work}, e.p.ArenaBytes()-e.p.Sizes[plan.Persist]
	if n := e.p.Sizes[plan.Grad]; shared != nil && e.p.Flag >= 0 {
		mem, free, err := shared(int(n) + readPast)
		if err == nil {
			e.mem[plan.Grad], e.shared = mem[:n:n], free
			regions, total = []plan.Region{plan.Input, plan.Work}, total-n
		}
	}
	if e.work, err = NewArena(int(total)); err != nil {
		return errors.Join(err, e.freeShared())
	}
	rest := e.work.Bytes
	for _, r := range regions {
		n := e.p.Sizes[r]
		e.mem[r], rest = rest[:n:n], rest[n:]
	}
	return nil
}

func (e *exec) freeShared() error {
	if e.shared == nil {
		return nil
	}
	free := e.shared
	e.shared = nil
	return free()
}

var _ backend.Gradient = (*exec)(nil)

func (e *exec) Gradient() backend.Gradient { return e }

// level returns partial sum k, made at its first use.
func (e *exec) level(k int) *partial {
	for len(e.partial) <= k {
		a, err := NewArena(max(1, len(e.grad.Bytes)))
		if err != nil {
			panic(err) // as any Go allocation that finds no memory
		}
		p := partial{mem: a, adds: map[[2]int]func(){}}
		p.save = mustBind(&Call{Op: "copy", In: []View{e.grad}, Out: []View{p.view(e.grad.Type)}})
		e.partial = append(e.partial, p)
	}
	return &e.partial[k]
}

func (p *partial) view(t graph.Type) View { return View{t, p.mem.Bytes[:t.Bytes()]} }

// mustBind binds an op that every build has.
func mustBind(c *Call) func() {
	run, err := Bind(c, false)
	if err != nil {
		panic(err)
	}
	return run
}

func (e *exec) Len() int   { return e.grad.Shape[0] }
func (e *exec) Save(k int) { e.level(k).save() }

func (e *exec) Add(k, from, to int) {
	p := e.level(k)
	add := p.adds[[2]int{from, to}]
	if add == nil {
		sum, grad := p.view(e.grad.Type).flat(from, to), e.grad.flat(from, to)
		add = mustBind(&Call{Op: "add", In: []View{sum, grad}, Out: []View{grad}})
		p.adds[[2]int{from, to}] = add
	}
	add()
}

// flat returns elements [from,to) of a view as a view of rank 1.
func (v View) flat(from, to int) View {
	n := v.DType.Size()
	return View{graph.Type{DType: v.DType, Shape: tensor.Shape{to - from}}, v.Bytes[from*n : to*n : to*n]}
}

func (e *exec) Host(from, to int) ([]float32, error) {
	return tensor.View[float32](e.grad.Bytes)[from:to:to], nil
}
func (e *exec) Commit(int, int) error { return nil }

// partial is one level of the sums over lanes: its memory, and the bound kernels that fill it and add ranges of it.
type partial struct {
	mem  *Arena
	save func()
	adds map[[2]int]func()
}
