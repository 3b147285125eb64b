package plan

import (
	"cmp"
	"fmt"
	"slices"

	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

// lowering builds a Program from a finished graph.
type lowering struct {
	g     *graph.Graph
	s     *state
	p     *Program
	ref   map[*graph.Value]Ref
	param map[*graph.Value]int // parameter → index in g.Params
	pin   map[*graph.Value]int // root value → Grad buffer it is computed into
	// view has the values that lie in other ones' memory, idle the slices and concatenations that so have nothing to do; changes are
	// the root values whose memory some node changes.
	view    map[*graph.Value]view
	idle    map[*graph.Node]bool
	changes map[*graph.Value]bool
	// groups of parameters that one update instruction moves.
	groups []*group
	hyper  Ref
}

func lower(g *graph.Graph, s *state) (*Program, error) {
	l := &lowering{g: g, s: s, ref: map[*graph.Value]Ref{}, param: map[*graph.Value]int{}, pin: map[*graph.Value]int{},
		p: &Program{Graph: g, Precision: s.opt.Precision, Inputs: map[string]Ref{}, Outputs: map[string]Ref{},
			Consts: map[int]*tensor.Tensor{}, Lanes: 1, Flag: -1}}
	if t := s.opt.Training; t != nil {
		l.p.Lanes = max(1, t.Lanes)
		l.p.Eager = l.p.Lanes == 1 && t.Clip == 0 && !t.Norm && !t.Shared && t.EMA == 0 && !s.off("eager-update")
	}
	for i, v := range g.Params {
		l.param[v] = i
	}
	l.group()
	l.persist()
	l.inputs()
	l.views()
	l.gradients()
	l.instructions()
	l.outputs()
	l.updates()
	l.keepBlocks()
	l.liveness()
	l.place()
	if s.opt.Training != nil && !l.p.Eager {
		l.bucket()
	}
	return l.p, check(l.p)
}

// align rounds up so that every tensor starts on a cache line.
func align(n int64) int64 { return (n + tensor.Align - 1) / tensor.Align * tensor.Align }

// reserve adds a buffer at the end of a region other than Work.
func (l *lowering) reserve(r Region, name string, t graph.Type) Ref {
	b := Buffer{Region: r, Name: name, Offset: l.p.Sizes[r], Bytes: int64(t.Bytes())}
	l.p.Sizes[r] += align(b.Bytes)
	l.p.Buffers = append(l.p.Buffers, b)
	return Ref{Buf: len(l.p.Buffers) - 1, Type: t}
}

// span adds a buffer over [from,to) of a region, typed as a flat array: several tensors laid end to end.
func (l *lowering) span(r Region, name string, from, to int64, dt tensor.DType) Ref {
	l.p.Buffers = append(l.p.Buffers, Buffer{Region: r, Name: name, Offset: from, Bytes: to - from})
	return Ref{Buf: len(l.p.Buffers) - 1, Type: graph.Type{DType: dt, Shape: tensor.Shape{int(to-from) / dt.Size()}}}
}

func (l *lowering) tensor(name, kind, of string, t graph.Type, init graph.Init) Ref {
	r := l.reserve(Persist, name, t)
	l.p.Tensors = append(l.p.Tensors, Tensor{Name: name, Kind: kind, Of: of, Type: t, Init: init, Buf: r.Buf})
	return r
}

func (l *lowering) inputs() {
	for _, v := range l.g.Inputs {
		l.ref[v] = l.reserve(Input, v.Node.Name, v.Type)
		l.p.Inputs[v.Node.Name] = l.ref[v]
	}
	for _, n := range l.g.Nodes {
		if c, ok := n.Attrs.(graph.Const); ok {
			r := l.reserve(Input, fmt.Sprintf("const:%d", n.ID), n.Out[0].Type)
			l.ref[n.Out[0]], l.p.Consts[r.Buf] = r, c.Value
		}
	}
	if l.s.opt.Training != nil {
		l.hyper = l.reserve(Input, Hyper, graph.Type{DType: tensor.F32, Shape: tensor.Shape{graph.HyperLen}})
		l.p.Inputs[Hyper] = l.hyper
	}
}

// gradients lays out the Grad region: in the order of the parameters where updates wait for all lanes,
// then tracked statistics and scalar outputs, which are summed over lanes alike.
func (l *lowering) gradients() {
	if l.s.opt.Training == nil {
		return
	}
	if !l.p.Eager {
		for _, gr := range l.groups {
			gr.gradFrom = l.p.Sizes[Grad]
			for _, i := range gr.params {
				p := l.g.Params[i]
				l.s.grads[i] = l.claim(l.s.grads[i], "grad:"+p.Node.Name)
			}
			gr.gradTo = l.p.Sizes[Grad]
		}
	}
	l.p.GradBytes = l.p.Sizes[Grad]
	for i := range l.g.Tracked {
		t := &l.g.Tracked[i]
		t.New = l.claim(t.New, "track:"+t.State.Node.Name)
	}
	for i := range l.g.Outputs {
		o := &l.g.Outputs[i]
		if o.Value.Shape.Size() == 1 && o.Value.DType == tensor.F32 {
			o.Value = l.claim(o.Value, "out:"+o.Name)
		}
	}
	if l.s.opt.Training.Shared {
		r := l.reserve(Grad, "flag", graph.Type{DType: tensor.F32, Shape: tensor.Shape{1}})
		l.p.Flag = int(l.p.Buffers[r.Buf].Offset / 4)
	}
}

// claim makes v the owner of a new buffer in Grad. A value that owns one already, or that is a leaf or a part
// of another value, is copied first.
func (l *lowering) claim(v *graph.Value, name string) *graph.Value {
	r, _ := l.root(v)
	_, taken := l.pin[r]
	if taken || r.Node.Op.Leaf || r.Bytes() != v.Bytes() {
		v = l.g.Apply("copy", nil, v)
		v.Node.Name = name
		r = v
	}
	l.pin[r] = l.reserve(Grad, name, v.Type).Buf
	return v
}

// instructions turns nodes into instructions, in order; aliases and views vanish.
func (l *lowering) instructions() {
	for _, n := range l.g.Nodes {
		if n.Op.Leaf {
			continue
		}
		for _, o := range n.Out {
			l.ref[o] = l.bufferOf(o)
		}
		if n.Op.Alias || l.idle[n] {
			continue
		}
		in := Instr{Op: n.Op, Attrs: n.Attrs, Name: n.Name, FLOPs: n.Work()}
		for _, v := range n.In {
			in.In = append(in.In, l.ref[v])
		}
		for _, o := range n.Out {
			in.Out = append(in.Out, l.ref[o])
		}
		l.p.Instrs = append(l.p.Instrs, in)
	}
	l.p.Split = len(l.p.Instrs)
}

// bufferOf gives a value its place in the buffer of its root: one that is there, a claimed one in Grad, or a new one in Work.
func (l *lowering) bufferOf(v *graph.Value) Ref {
	r, at := l.root(v)
	if _, ok := l.ref[r]; !ok {
		b, claimed := l.pin[r]
		if !claimed {
			b = len(l.p.Buffers)
			l.p.Buffers = append(l.p.Buffers, Buffer{Region: Work, Name: r.Node.Name, Bytes: int64(r.Bytes())})
		}
		l.ref[r] = Ref{Buf: b, Type: r.Type}
	}
	return Ref{Buf: l.ref[r].Buf, Type: v.Type, Offset: at}
}

func (l *lowering) outputs() {
	for _, o := range l.g.Outputs {
		l.p.Outputs[o.Name] = l.ref[o.Value]
	}
}

// check is the verifier of programs: every buffer lies inside its region, every instruction's views inside
// their buffers and either the same or apart where one is written, and no two Work buffers that live at the same time share memory.
func check(p *Program) error {
	var work []Buffer
	for i, b := range p.Buffers {
		if b.Region == Work && b.Last < 0 {
			continue // no instruction is left that touches it
		}
		if b.Offset < 0 || b.Offset+b.Bytes > p.Sizes[b.Region] {
			return fmt.Errorf("plan: buffer %d %q ends at %d, its region %v at %d", i, b.Name, b.Offset+b.Bytes, b.Region, p.Sizes[b.Region])
		}
		if b.Region == Work && b.Last >= 0 && b.Bytes > 0 { // an empty buffer shares nothing wherever it lies
			work = append(work, b)
		}
	}
	for _, in := range p.Instrs {
		for _, r := range slices.Concat(in.In, in.Out) {
			if b := p.Buffers[r.Buf]; r.Offset < 0 || r.end() > b.Bytes {
				return fmt.Errorf("plan: %s %q uses %v at %d of buffer %q, which has %d bytes", in.Op.Name, in.Name, r.Type, r.Offset, b.Name, b.Bytes)
			}
		}
		for i, o := range in.Out {
			for _, r := range slices.Concat(in.In, in.Out[i+1:]) {
				if apart := o.end() <= r.Offset || r.end() <= o.Offset; o.Buf == r.Buf && !apart && (o.Offset != r.Offset || o.end() != r.end()) {
					return fmt.Errorf("plan: %s %q writes %v at %d of buffer %q over part of %v at %d", in.Op.Name, in.Name, o.Type, o.Offset, p.Buffers[o.Buf].Name, r.Type, r.Offset)
				}
			}
		}
	}
	slices.SortFunc(work, func(a, b Buffer) int { return cmp.Compare(a.Offset, b.Offset) })
	for i, a := range work {
		for _, b := range work[i+1:] {
			if b.Offset >= a.Offset+a.Bytes {
				break
			}
			if a.First <= b.Last && b.First <= a.Last {
				return fmt.Errorf("plan: %q and %q share memory and both live at instruction %d", a.Name, b.Name, max(a.First, b.First))
			}
		}
	}
	return nil
}
