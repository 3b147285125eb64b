//go:build cgo

package kernels

// #cgo noescape rg_q8_run
// #cgo nocallback rg_q8_run
// #cgo noescape rg_q8_prepare
// #cgo nocallback rg_q8_prepare
// #cgo noescape rg_q8_scale
// #cgo nocallback rg_q8_scale
// #cgo noescape rg_q8_pad
// #cgo nocallback rg_q8_pad
// #include "quant.h"
// #include <stdlib.h>
import "C"

import (
	"runtime"
	"unsafe"

	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

func init() {
	registerFast("qmatmul", bindQMatMul)
	registerFast("qconv2d", bindQConv2D)
}

// q8 is a product described in C memory, and what is to be freed with it.
type q8 struct {
	g    *C.rg_q8
	free []unsafe.Pointer
}

func (q *q8) alloc(bytes int) unsafe.Pointer {
	p := C.aligned_alloc(64, C.size_t((bytes+127)&^63)) // 64 bytes more: kernels read a little past the end
	if p == nil {
		panic("kernels: out of memory for packed weights")
	}
	q.free = append(q.free, p)
	return p
}

func (q *q8) longs(x []int) *C.long {
	p := cLongs(x)
	q.free = append(q.free, unsafe.Pointer(p))
	return p
}

// newQ8 fills in everything but the shape; nil where scales are not f32.
func newQ8(c *Call, a graph.Requant) *q8 {
	ys, yz, bias, residual := graph.Tail(a, c.In)
	if c.In[1].DType != tensor.F32 || c.In[4].DType != tensor.F32 || ys != nil && ys.DType != tensor.F32 || c.Out[0].Shape.Size() == 0 {
		return nil
	}
	g := (*C.rg_q8)(C.calloc(1, C.sizeof_rg_q8))
	g.x, g.x_u8, g.w, g.w_u8 = octets(c.In[0]), flag(c.In[0].DType == tensor.U8), octets(c.In[3]), flag(c.In[3].DType == tensor.U8)
	g.xs, g.xz, g.ws, g.wz = floats(c.In[1]), octets(c.In[2]), floats(c.In[4]), octets(c.In[5])
	g.ws_n, g.wz_n = C.long(c.In[4].Shape.Size()), C.long(c.In[5].Shape.Size())
	biasType := tensor.Invalid
	if ys != nil {
		g.ys, g.yz = floats(*ys), octets(*yz)
	}
	if bias != nil {
		biasType = bias.DType
		if biasType == tensor.I32 {
			g.ibias = (*C.int32_t)(bias.Ptr())
		} else {
			g.fbias = floats(*bias)
		}
	}
	if residual != nil {
		g.residual = floats(*residual)
	}
	g.act, g.out, g.in_float = gemmActs[a.Act], qTypes[a.Out], flag(a.InFloat(biasType))
	g.y = c.Out[0].Ptr()
	g.parts = 3 // w − wz takes up to 9 bits and a sign
	if c.constant(3) && c.constant(5) && c.In[3].DType == tensor.I8 && allZero(c.In[5].Bytes) {
		g.parts = 1
	}
	return &q8{g: g, free: []unsafe.Pointer{unsafe.Pointer(g)}}
}

func allZero(b []byte) bool {
	for _, v := range b {
		if v != 0 {
			return false
		}
	}
	return true
}

// constant reports whether the contents of input i are known when the call is bound.
func (c *Call) constant(i int) bool { return i < len(c.Const) && c.Const[i] }

// finish chooses a kernel, packs the weights now where nothing of them can change, and returns what runs the product.
func (q *q8) finish(c *Call) func() {
	C.rg_q8_choose(q.g)
	var packed, columns C.long
	C.rg_q8_sizes(q.g, &packed, &columns)
	q.g.packed = (*C.int8_t)(q.alloc(int(packed)))
	q.g.mul = (*C.float)(q.alloc(4 * int(columns)))
	q.g.bias = (*C.int32_t)(q.alloc(4 * int(columns)))
	q.g.sums = (*C.int32_t)(q.alloc(4 * int(columns)))
	g := q.g
	weights := c.constant(3) && c.constant(5)
	scales := weights
	for i := range c.In {
		later := i == 0 || i >= 6 && c.In[i].DType == tensor.F32 && c.In[i].Shape.Size() > 1 // x, f32 bias, residual: read as it runs
		scales = scales && (later || c.constant(i))
	}
	if weights {
		C.rg_q8_prepare(g)
	}
	if scales {
		C.rg_q8_scale(g)
	}
	run := func() {
		if !weights {
			C.rg_q8_prepare(g)
		}
		if !scales {
			C.rg_q8_scale(g)
		}
		C.rg_q8_run(g)
	}
	runtime.AddCleanup(q, func(ps []unsafe.Pointer) {
		for _, p := range ps {
			C.free(p)
		}
	}, q.free)
	return func() {
		run()
		runtime.KeepAlive(q)
	}
}

func bindQMatMul(c *Call) func() {
	a := c.Attrs.(graph.QMatMul)
	q := newQ8(c, a.Requant)
	s, _, err := graph.MatMul{TransB: a.TransB}.Sizes(c.In[0].Shape, c.In[3].Shape)
	if q == nil || err != nil || s.K == 0 {
		return nil
	}
	q.g.images, q.g.oh, q.g.ow, q.g.pix_step = 1, 1, C.long(s.M), C.long(s.K)
	q.g.segs, q.g.seg_len, q.g.n, q.g.ldy = 1, C.long(s.K), C.long(s.N), C.long(s.N)
	q.g.seg_off, q.g.seg_w = q.longs([]int{0}), q.longs([]int{0})
	q.g.cin, q.g.wcin, q.g.wj = C.long(s.K), C.long(pick(a.TransB, 1, s.N)), C.long(pick(a.TransB, s.K, 1))
	return q.finish(c)
}

// bindQConv2D covers (N,H,W,C). Groups are products of their own, one after the other.
func bindQConv2D(c *Call) func() {
	a := c.Attrs.(graph.QConv2D)
	xs, ys, err := a.Shapes(c.In[0].Shape, c.In[3].Shape)
	if !a.NHWC || err != nil || tensor.Shape(xs[:]).Size() == 0 {
		return nil
	}
	conv := a.Conv.Norm()
	pad := newPadding(c, conv, xs)
	var runs []func()
	for group := range conv.Groups {
		q := newQ8(c, a.Requant)
		if q == nil {
			return nil
		}
		q.convolve(c, conv, xs, ys, pad, group)
		runs = append(runs, q.finish(c))
	}
	return func() {
		if pad.copy != nil {
			pad.copy()
		}
		for _, run := range runs {
			run()
		}
	}
}

// convolve describes group of a convolution: a stretch per row of the filter where its taps lie together in x, else
// one per tap.
func (q *q8) convolve(c *Call, a graph.Conv2D, xs, ys [4]int, pad padding, group int) {
	w := c.In[3].Shape
	cg, og, kh, kw := w[1], w[0]/a.Groups, w[2], w[3]
	row := pad.w * xs[1]
	q.g.images, q.g.oh, q.g.ow = C.long(xs[0]), C.long(ys[2]), C.long(ys[3])
	q.g.img_step, q.g.row_step, q.g.pix_step = C.long(pad.h*row), C.long(row*a.Stride[0]), C.long(xs[1]*a.Stride[1])
	q.g.n, q.g.ldy = C.long(og), C.long(ys[1])
	q.g.cin, q.g.wcin, q.g.wtap, q.g.wj = C.long(cg), C.long(kh*kw), 1, C.long(cg*kh*kw)
	var off, from []int
	taps := kw
	if a.Groups == 1 && a.Dilation[1] == 1 {
		taps = 1
	}
	for r := range kh {
		for t := range taps {
			off = append(off, r*a.Dilation[0]*row+t*a.Dilation[1]*xs[1])
			from = append(from, r*kw+t)
		}
	}
	q.g.segs, q.g.seg_len = C.long(len(off)), C.long(cg*kw/taps)
	q.g.seg_off, q.g.seg_w = q.longs(off), q.longs(from)
	if pad.mem != nil {
		q.g.x = (*C.uint8_t)(pad.mem)
	}
	q.g.x = advance(q.g.x, group*cg)
	q.g.w = advance(q.g.w, group*og*cg*kh*kw)
	q.g.y = unsafe.Add(q.g.y, group*og*c.Out[0].DType.Size())
	q.g.ibias, q.g.fbias, q.g.residual = advance(q.g.ibias, group*og), advance(q.g.fbias, group*og), advance(q.g.residual, group*og)
	if c.In[4].Shape.Size() > 1 {
		q.g.ws_n = C.long(og)
		q.g.ws = advance(q.g.ws, group*og)
	}
	if c.In[5].Shape.Size() > 1 {
		q.g.wz_n = C.long(og)
		q.g.wz = advance(q.g.wz, group*og)
	}
}

// advance moves a pointer into C memory by n elements; nil stays nil.
func advance[T any](p *T, n int) *T {
	if p == nil {
		return nil
	}
	return (*T)(unsafe.Add(unsafe.Pointer(p), n*int(unsafe.Sizeof(*p))))
}

// padding is x with its zero point around it, in memory of its own, where the convolution pads.
type padding struct {
	h, w int
	mem  unsafe.Pointer
	copy func()
}

func newPadding(c *Call, a graph.Conv2D, xs [4]int) padding {
	p := padding{h: xs[2] + a.Pad[0] + a.Pad[2], w: xs[3] + a.Pad[1] + a.Pad[3]}
	if a.Pad == [4]int{} {
		return p
	}
	arena, err := NewArena(xs[0] * p.h * p.w * xs[1])
	if err != nil {
		panic(err) // as any Go allocation that finds no memory
	}
	v := View{Bytes: arena.Bytes}
	p.mem = v.Ptr()
	pad := (*[4]C.long)(C.malloc(4 * C.sizeof_long))
	for i, n := range a.Pad {
		pad[i] = C.long(n)
	}
	x, fill, l := octets(c.In[0]), octets(c.In[2]), func(i int) C.long { return C.long(i) }
	n, h, w, ch, y := l(xs[0]), l(xs[2]), l(xs[3]), l(xs[1]), octets(v)
	p.copy = func() {
		C.rg_q8_pad(x, n, h, w, ch, &pad[0], fill, y)
		runtime.KeepAlive(arena)
	}
	runtime.AddCleanup(arena, func(p unsafe.Pointer) { C.free(p) }, unsafe.Pointer(pad))
	return p
}

// capQ8 keeps integer products from kinds above the named one: "plain", "vnni" or "" for none. For tests.
func capQ8(kind string) {
	C.rg_q8_cap(map[string]C.int{"plain": C.RG_Q8_PLAIN, "vnni": C.RG_Q8_VNNI, "": C.RG_Q8_AMX}[kind])
}
