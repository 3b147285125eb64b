//go:build cgo

package kernels

// #cgo noescape rg_attention_cached
// #cgo nocallback rg_attention_cached
// #cgo noescape rg_kv_write
// #cgo nocallback rg_kv_write
// #include "attention.h"
import "C"

import (
	"unsafe"

	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

// attentionArgs fills in sizes and the q, k and v of in ({q,k,v} or {qkv}).
func attentionArgs(a graph.Attention, in []View) *C.rg_attention_args {
	z := attentionSizes(a, in)
	args := &C.rg_attention_args{
		B: C.long(z.B), T: C.long(z.T), S: C.long(z.S), H: C.long(z.H), KV: C.long(z.KV), D: C.long(z.D),
		scale: C.float(a.SoftmaxScale(z.D)),
	}
	if a.Causal {
		args.causal = 1
	}
	q, k, v := splitPointers(z, in)
	args.q, args.k, args.v = q, k, v
	qRow, kvRow := z.H*z.D, z.KV*z.D
	if a.Packed {
		qRow = (z.H + 2*z.KV) * z.D
		kvRow = qRow
	}
	args.q_row, args.q_batch = C.long(qRow), C.long(z.T*qRow)
	args.kv_row, args.kv_batch = C.long(kvRow), C.long(z.S*kvRow)
	return args
}

// splitPointers returns where head 0 of q, k and v starts.
func splitPointers(z graph.AttentionSizes, x []View) (q, k, v *C.float) {
	if len(x) == 3 {
		return f32(x[0]), f32(x[1]), f32(x[2])
	}
	at := func(head int) *C.float { return (*C.float)(unsafe.Add(x[0].Ptr(), 4*head*z.D)) }
	return at(0), at(z.H), at(z.H + z.KV)
}

func bindAttention(c *Call) func() {
	if !allDType(tensor.F32, c.In, c.Out) {
		return nil
	}
	args := attentionArgs(c.Attrs.(graph.Attention), c.In)
	args.y, args.lse = f32(c.Out[0]), f32(c.Out[1])
	return single(c, C.rg_attention, args)
}

func bindAttentionGrad(c *Call) func() {
	if !allDType(tensor.F32, c.In, c.Out) {
		return nil
	}
	a, n := c.Attrs.(graph.Attention), len(c.Out)
	args := attentionArgs(a, c.In[1:1+n])
	args.dy, args.y, args.lse = f32(c.In[0]), f32(c.In[1+n]), f32(c.In[2+n])
	if len(c.In) > 3+n {
		args.dlse = f32(c.In[3+n])
	}
	args.dq, args.dk, args.dv = splitPointers(attentionSizes(a, c.In[1:1+n]), c.Out)
	return single(c, C.rg_attention_grad, args)
}

func bindAttentionCached(c *Call) func() {
	if !allDType(tensor.F32, c.In[:3], c.Out) {
		return nil
	}
	a, _ := c.Attrs.(graph.Attention)
	args := attentionArgs(a, c.In[:3])
	args.y = f32(c.Out[0])
	pos, step := positions(c.In[3])
	return func() { C.rg_attention_cached(args, pos, step) }
}

// positions returns an I32 position tensor and the elements between sequences, 0 where one serves all.
func positions(v View) (*C.int32_t, C.long) {
	step := C.long(1)
	if v.Shape.Size() == 1 {
		step = 0
	}
	return (*C.int32_t)(v.Ptr()), step
}

// bindKVWrite covers every element type: rows are copied as bytes.
func bindKVWrite(c *Call) func() {
	cache, x := (*C.char)(c.In[0].Ptr()), (*C.char)(c.In[1].Ptr())
	if c.Out[0].Ptr() != c.In[0].Ptr() {
		return nil
	}
	pos, step := positions(c.In[2])
	b, s, t := C.long(c.In[0].Shape[0]), C.long(c.In[0].Shape[1]), C.long(c.In[1].Shape[1])
	row := C.long(c.In[0].Shape[2:].Size() * c.In[0].DType.Size())
	return func() { C.rg_kv_write(cache, x, pos, step, b, s, t, row) }
}

func init() {
	registerFast("attention", bindAttention)
	registerFast("attention_grad", bindAttentionGrad)
	registerFast("attention_cached", bindAttentionCached)
	registerFast("kv_write", bindKVWrite)
}
