//go:build cgo

package kernels

// #cgo noescape rg_unary
// #cgo nocallback rg_unary
// #cgo noescape rg_binary
// #cgo nocallback rg_binary
// #cgo noescape rg_where
// #cgo nocallback rg_where
// #cgo noescape rg_swiglu
// #cgo nocallback rg_swiglu
// #cgo noescape rg_swiglu_grad
// #cgo nocallback rg_swiglu_grad
// #cgo noescape rg_fill
// #cgo nocallback rg_fill
// #cgo noescape rg_copy
// #cgo nocallback rg_copy
// #cgo noescape rg_cast
// #cgo nocallback rg_cast
// #include "elementwise.h"
import "C"

import (
	"encoding/binary"
	"unsafe"

	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

var unaryCodes = map[string]C.int{
	"neg": C.RG_U_NEG, "abs": C.RG_U_ABS, "sqrt": C.RG_U_SQRT, "rsqrt": C.RG_U_RSQRT, "exp": C.RG_U_EXP,
	"log": C.RG_U_LOG, "relu": C.RG_U_RELU, "silu": C.RG_U_SILU, "tanh": C.RG_U_TANH, "sigmoid": C.RG_U_SIGMOID,
	"erf": C.RG_U_ERF, "square": C.RG_U_SQUARE, "sign": C.RG_U_SIGN, "floor": C.RG_U_FLOOR, "ceil": C.RG_U_CEIL,
	"round": C.RG_U_ROUND, "reciprocal": C.RG_U_RECIPROCAL, "softplus": C.RG_U_SOFTPLUS,
	"gelu": C.RG_U_GELU_ERF, "clip": C.RG_U_CLIP,
}

var binaryCodes = map[string]C.int{
	"add": C.RG_B_ADD, "sub": C.RG_B_SUB, "mul": C.RG_B_MUL, "div": C.RG_B_DIV, "maximum": C.RG_B_MAXIMUM,
	"minimum": C.RG_B_MINIMUM, "relu_grad": C.RG_B_RELU_GRAD, "silu_grad": C.RG_B_SILU_GRAD,
	"gelu_grad": C.RG_B_GELU_ERF_GRAD, "pow": C.RG_B_POW,
	"eq": C.RG_B_EQ, "ne": C.RG_B_NE, "lt": C.RG_B_LT, "le": C.RG_B_LE, "gt": C.RG_B_GT, "ge": C.RG_B_GE,
}

func init() {
	for name, code := range unaryCodes {
		registerFast(name, func(c *Call) func() { return bindUnary(c, code) })
	}
	for name, code := range binaryCodes {
		registerFast(name, func(c *Call) func() { return bindBinary(c, code) })
	}
	registerFast("where", bindWhere)
	registerFast("swiglu", func(c *Call) func() { return bindSwiglu(c, false) })
	registerFast("swiglu_grad", func(c *Call) func() { return bindSwiglu(c, true) })
	registerFast("fill", bindFill)
	registerFast("copy", bindCopy)
	registerFast("cast", bindCast)
}

// storage returns the C code of a float type that elementwise kernels read and write.
func storage(d tensor.DType) (C.int, bool) {
	switch d {
	case tensor.F32:
		return C.RG_F32, true
	case tensor.BF16:
		return C.RG_BF16, true
	}
	return 0, false
}

func bindUnary(c *Call, code C.int) func() {
	dt, ok := storage(c.In[0].DType)
	if !ok {
		return nil
	}
	lo, hi := C.float(0), C.float(0)
	switch a := c.Attrs.(type) {
	case graph.Gelu:
		if a.Tanh {
			code = C.RG_U_GELU_TANH
		}
	case graph.Clip:
		lo, hi = C.float(a.Lo), C.float(a.Hi)
	}
	x, y, n := c.In[0].Ptr(), c.Out[0].Ptr(), C.long(c.Out[0].Shape.Size())
	return func() { C.rg_unary(code, dt, x, y, n, lo, hi) }
}

// cLoop copies a nest into C's form; nil where it has too many axes or nothing to do.
func cLoop(n nest) *C.rg_loop {
	if len(n.dims) > C.RG_ND || n.size() == 0 {
		return nil
	}
	l := &C.rg_loop{nd: C.int32_t(len(n.dims))}
	for a, d := range n.dims {
		l.dim[a] = C.int64_t(d)
		for o := range n.strides {
			l.s[o][a] = C.int64_t(n.strides[o][a])
		}
	}
	return l
}

func bindBinary(c *Call, code C.int) func() {
	dt, ok := storage(c.In[0].DType)
	l := cLoop(broadcastNest(c.Out[0].Shape, c.In...))
	if !ok || c.In[1].DType != c.In[0].DType || l == nil {
		return nil
	}
	if tanhForm(c) {
		code = C.RG_B_GELU_TANH_GRAD
	}
	a, b, y := c.In[0].Ptr(), c.In[1].Ptr(), c.Out[0].Ptr()
	return func() { C.rg_binary(code, dt, l, a, b, y) }
}

func bindWhere(c *Call) func() {
	l := cLoop(broadcastNest(c.Out[0].Shape, c.In...))
	if c.Out[0].DType.Size() != 4 || l == nil {
		return nil
	}
	cond, a, b, y := (*C.uint8_t)(c.In[0].Ptr()), c.In[1].Ptr(), c.In[2].Ptr(), c.Out[0].Ptr()
	return func() { C.rg_where(l, cond, a, b, y) }
}

func bindSwiglu(c *Call, grad bool) func() {
	dt, ok := storage(c.In[0].DType)
	s := c.In[0].Shape
	if !ok || s.Size() == 0 {
		return nil
	}
	f := s[len(s)-1] / 2
	rows, cf, x, y := C.long(s.Size()/(2*f)), C.long(f), c.In[0].Ptr(), c.Out[0].Ptr()
	if !grad {
		return func() { C.rg_swiglu(dt, x, y, rows, cf) }
	}
	dy := c.In[1].Ptr()
	return func() { C.rg_swiglu_grad(dt, x, dy, y, rows, cf) }
}

func bindFill(c *Call) func() {
	y, n, size := c.Out[0].Ptr(), C.long(c.Out[0].Shape.Size()), c.Out[0].DType.Size()
	bits := C.uint64_t(elementBits(c.Out[0].DType, c.Attrs.(graph.Fill).Value))
	return func() { C.rg_fill(y, C.int(size), bits, n) }
}

// elementBits is v as stored in element type d, in the low bytes.
func elementBits(d tensor.DType, v float64) uint64 {
	raw := make([]byte, 8)
	tensor.StoreFloat64(raw[:d.Size()], d, []float64{v})
	return binary.LittleEndian.Uint64(raw)
}

func bindCopy(c *Call) func() {
	return bindCopyBytes(c.Out[0].Ptr(), c.In[0].Ptr(), len(c.Out[0].Bytes))
}

func bindCopyBytes(y, x unsafe.Pointer, bytes int) func() {
	n := C.long(bytes)
	return func() { C.rg_copy(y, x, n) }
}

func bindCast(c *Call) func() {
	from, to := C.int(c.In[0].DType), C.int(c.Out[0].DType)
	if from == to {
		return bindCopy(c)
	}
	x, y, n := c.In[0].Ptr(), c.Out[0].Ptr(), C.long(c.Out[0].Shape.Size())
	if C.rg_cast(from, to, x, y, 0) == 0 {
		return nil
	}
	return func() { C.rg_cast(from, to, x, y, n) }
}
