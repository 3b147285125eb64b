package plan

import (
	"fmt"
	"slices"

	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

// group is a set of parameters that the same rule moves, laid end to end so that one instruction covers
// them all: parameters, gradients and every slot in the same order.
type group struct {
	rule             Update
	params           []int
	from, to         int64   // Persist range of the parameters
	slots            []int64 // Persist start of each slot's block
	ema              int64
	gradFrom, gradTo int64
}

// group sorts the parameters into groups, in order of first appearance.
func (l *lowering) group() {
	t := l.s.opt.Training
	byKey := map[string]*group{}
	for i, p := range l.g.Params {
		var rule Update
		key := "all"
		if t != nil {
			rule = t.Rule(p.Node.Attrs.(graph.Leaf))
			key = fmt.Sprintf("%s %+v %v", rule.Op, rule.Attrs, p.DType)
			if rule.PerTensor {
				key += p.Node.Name
			}
		}
		gr := byKey[key]
		if gr == nil {
			gr = &group{rule: rule}
			byKey[key] = gr
			l.groups = append(l.groups, gr)
		}
		gr.params = append(gr.params, i)
	}
}

// persist lays out what survives between steps: per group the parameters, then each slot, then the average;
// then the states.
func (l *lowering) persist() {
	for _, gr := range l.groups {
		gr.from = l.p.Sizes[Persist]
		for _, i := range gr.params {
			v := l.g.Params[i]
			l.ref[v] = l.tensor(v.Node.Name, "param", "", v.Type, v.Node.Attrs.(graph.Leaf).Init)
		}
		gr.to = l.p.Sizes[Persist]
		for _, slot := range gr.rule.Slots {
			gr.slots = append(gr.slots, l.shadow(gr, slot, func(graph.Init) graph.Init { return graph.Constant(0) }))
		}
		if t := l.s.opt.Training; t != nil && t.EMA > 0 {
			gr.ema = l.shadow(gr, "ema", func(i graph.Init) graph.Init { return i })
		}
	}
	for _, v := range l.g.States {
		l.ref[v] = l.tensor(v.Node.Name, "state", "", v.Type, v.Node.Attrs.(graph.Leaf).Init)
	}
}

// shadow lays out one tensor beside every parameter of a group and returns where the block starts.
func (l *lowering) shadow(gr *group, kind string, init func(graph.Init) graph.Init) int64 {
	from := l.p.Sizes[Persist]
	for _, i := range gr.params {
		v := l.g.Params[i]
		l.tensor(kind+":"+v.Node.Name, kind, v.Node.Name, v.Type, init(v.Node.Attrs.(graph.Leaf).Init))
	}
	return from
}

// updates appends the update phase, or in eager mode puts each update behind the last use of its parameter.
func (l *lowering) updates() {
	t := l.s.opt.Training
	if t == nil {
		return
	}
	if l.p.Eager {
		l.eager()
	} else {
		l.p.Flat = true
		l.flat(t)
	}
	for _, tr := range l.g.Tracked {
		st := l.ref[tr.State]
		l.emit("lerp", graph.Lerp{Alpha: tr.Momentum, Scale: 1 / float64(l.p.Lanes)}, "track "+tr.State.Node.Name, []Ref{st, l.ref[tr.New]}, []Ref{st})
	}
}

func (l *lowering) emit(op string, attrs any, name string, in, out []Ref) {
	l.p.Instrs = append(l.p.Instrs, instr(op, attrs, name, in, out))
}

func instr(op string, attrs any, name string, in, out []Ref) Instr {
	row, ok := graph.Lookup(op)
	if !ok {
		panic("plan: no op " + op)
	}
	return Instr{Op: row, Attrs: attrs, Name: name, In: in, Out: out, FLOPs: int64(in[0].Type.Shape.Size())}
}

// flat emits one update per group over whole ranges, after the norm of the whole gradient.
func (l *lowering) flat(t *Training) {
	var norm []Ref
	if t.Clip > 0 || t.Norm {
		all := l.span(Grad, "grad", 0, l.p.GradBytes, tensor.F32)
		l.p.Buffers = append(l.p.Buffers, Buffer{Region: Work, Name: "grad_norm", Bytes: 8})
		out := Ref{Buf: len(l.p.Buffers) - 1, Type: graph.Type{DType: tensor.F32, Shape: tensor.Shape{2}}}
		l.emit("grad_norm", graph.GradNorm{Max: t.Clip}, "grad_norm", []Ref{all, l.hyper}, []Ref{out})
		l.p.Outputs["grad_norm"] = out
		norm = []Ref{out}
	}
	for i, gr := range l.groups {
		name := fmt.Sprintf("%s group %d", gr.rule.Op, i)
		param := l.span(Persist, "flat "+name, gr.from, gr.to, tensor.F32)
		grad := l.span(Grad, "grad "+name, gr.gradFrom, gr.gradTo, tensor.F32)
		if gr.rule.PerTensor {
			param.Type, grad.Type = l.g.Params[gr.params[0]].Type, l.g.Params[gr.params[0]].Type
		}
		in, out := []Ref{param, grad}, []Ref{param}
		for k, from := range gr.slots {
			s := l.span(Persist, "flat "+gr.rule.Slots[k]+" "+name, from, from+gr.to-gr.from, tensor.F32)
			s.Type = param.Type
			in, out = append(in, s), append(out, s)
		}
		l.emit(gr.rule.Op, gr.rule.Attrs, name, slices.Concat(in, []Ref{l.hyper}, norm), out)
		if t.EMA > 0 {
			e := l.span(Persist, "flat ema "+name, gr.ema, gr.ema+gr.to-gr.from, tensor.F32)
			param.Type = e.Type
			l.emit("lerp", graph.Lerp{Alpha: 1 - t.EMA, Scale: 1}, "ema "+name, []Ref{e, param}, []Ref{e})
		}
	}
}
