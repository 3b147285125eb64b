package plan

import (
	"slices"

	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

// Updates of parameters of at most smallUpdate elements wait for each other until they have batchUpdate together: devices run
// neighbours as one. Their gradients stay in memory so long.
const smallUpdate, batchUpdate = 1 << 16, 1 << 18

// eager inserts each parameter's update behind its gradient and its last reader. Where the gradient is a product and the
// device can do both at once (Options.FuseUpdate), the product moves there and becomes the update.
func (l *lowering) eager() {
	at := l.touches()
	buf := map[string]int{}
	for _, t := range l.p.Tensors {
		buf[t.Name] = t.Buf
	}
	after, small, gone := map[int][]Instr{}, map[int][]Instr{}, map[int]bool{}
	for _, gr := range l.groups {
		for _, i := range gr.params {
			v := l.g.Params[i]
			param, grad := l.ref[v], l.ref[l.s.grads[i]]
			grad.Type.Shape = v.Shape
			if k, half := l.castOf(gr.rule, grad, at); k >= 0 {
				grad, gone[k] = half, true
			}
			states := []Ref{param}
			for _, slot := range gr.rule.Slots {
				states = append(states, Ref{Buf: buf[slot+":"+v.Node.Name], Type: v.Type})
			}
			where := max(final(at[param.Buf]), final(at[grad.Buf]))
			update, parts := l.fusedUpdate(gr.rule, states, grad, at)
			if parts != nil {
				if b, ok := l.blocksOf(param); ok {
					a := update.Attrs.(graph.MatMulAdamW)
					a.Blocks = true
					update.Attrs, update.Out = a, append(slices.Clone(update.Out), b)
					where = max(where, final(at[b.Buf]))
				}
			} else {
				in := slices.Concat([]Ref{param, grad}, states[1:], []Ref{l.hyper})
				update = instr(gr.rule.Op, gr.rule.Attrs, v.Node.Name, in, states)
			}
			for _, p := range parts {
				gone[p] = true
			}
			if parts == nil && v.Type.Shape.Size() <= smallUpdate {
				small[where] = append(small[where], update)
			} else {
				after[where] = append(after[where], update)
			}
		}
	}
	var instrs, wait []Instr
	waiting := 0
	for i, in := range l.p.Instrs {
		if !gone[i] {
			instrs = append(instrs, in)
		}
		instrs = append(instrs, after[i]...)
		for _, u := range small[i] {
			wait, waiting = append(wait, u), waiting+u.Out[0].Type.Shape.Size()
		}
		if waiting >= batchUpdate || i+1 == len(l.p.Instrs) {
			instrs, wait, waiting = append(instrs, wait...), nil, 0
		}
	}
	l.p.Instrs = instrs
	l.p.Split = len(instrs)
}

// castOf returns the instruction that turns a gradient from bf16 to f32 for its update alone, and the bf16 gradient, where the update
// can read that; else −1.
func (l *lowering) castOf(rule Update, grad Ref, at map[int][]int) (k int, half Ref) {
	if _, ok := rule.Attrs.(graph.AdamW); !ok || !l.s.opt.HalfGradients || len(at[grad.Buf]) != 1 || l.p.Buffers[grad.Buf].Region != Work {
		return -1, half
	}
	k = at[grad.Buf][0]
	in := l.p.Instrs[k]
	if in.Op.Name != "cast" || in.In[0].Type.DType != tensor.BF16 {
		return -1, half
	}
	half = in.In[0]
	half.Type.Shape = grad.Type.Shape
	half.Offset += grad.Offset * int64(tensor.BF16.Size()) / int64(tensor.F32.Size())
	return k, half
}

// touches lists, per buffer, the instructions that read or write it, in order.
func (l *lowering) touches() map[int][]int {
	at := map[int][]int{}
	for i := range l.p.Instrs {
		for _, r := range slices.Concat(l.p.Instrs[i].In, l.p.Instrs[i].Out) {
			if t := at[r.Buf]; len(t) == 0 || final(t) != i {
				at[r.Buf] = append(t, i)
			}
		}
	}
	return at
}

func final(x []int) int { return x[len(x)-1] }

// fusedUpdate returns the instruction that computes a parameter's gradient and moves the parameter, and the instructions that it
// replaces; none where they cannot be one. states are the parameter and its slots. The gradient must be a plain product of
// two matrices, or the sum of one and an embedding's gradient, that only the update reads.
func (l *lowering) fusedUpdate(rule Update, states []Ref, grad Ref, at map[int][]int) (fused Instr, parts []int) {
	adamW, ok := rule.Attrs.(graph.AdamW)
	if !ok || !l.s.opt.FuseUpdate || l.s.off("fuse-update") || len(at[grad.Buf]) != 1 || l.p.Buffers[grad.Buf].Region != Work {
		return fused, nil
	}
	parts = at[grad.Buf]
	product := l.p.Instrs[parts[0]]
	m, ok := product.Attrs.(graph.MatMul)
	plain := m == graph.MatMul{TransA: m.TransA, TransB: m.TransB, Residual: m.Residual}
	if !ok || !plain || len(states[0].Type.Shape) != 2 || !product.Out[0].Type.Equal(states[0].Type) || states[0].Type.DType != tensor.F32 {
		return fused, nil
	}
	if most := l.s.opt.UpdateMost; most > 0 && product.In[1].Type.Shape.Size() > most {
		return fused, nil
	}
	in := slices.Concat(states, []Ref{l.hyper}, product.In[:2])
	if m.Residual {
		sum := product.In[2].Buf
		if len(at[sum]) != 2 || l.p.Instrs[at[sum][0]].Op.Name != "embedding_grad" || l.p.Buffers[sum].Region != Work {
			return fused, nil
		}
		rows := l.p.Instrs[at[sum][0]]
		in, parts = append(in, rows.In...), []int{parts[0], at[sum][0]}
	}
	for _, r := range in[4:] { // what is read later than planned must not change before
		if l.p.Buffers[r.Buf].Region == Persist {
			return fused, nil
		}
	}
	a := graph.MatMulAdamW{TransA: m.TransA, TransB: m.TransB, AdamW: adamW, Rows: m.Residual}
	fused = instr("matmul_adamw", a, product.Name, in, states)
	fused.FLOPs += product.FLOPs
	return fused, parts
}

// blocksOf returns the blocks of a parameter.
func (l *lowering) blocksOf(param Ref) (Ref, bool) {
	for _, in := range l.p.Instrs {
		if in.Op.Name == "blocks" && in.In[0].Buf == param.Buf {
			return in.Out[0], true
		}
	}
	return Ref{}, false
}
