//go:build cgo

package kernels

// #include "native.h"
// #include <stdlib.h>
// #cgo noescape rg_run_list
// #cgo nocallback rg_run_list
import "C"

import (
	"runtime"
	"unsafe"
)

// single binds a call to the C function fn of one pointer, to a copy of *a in C memory. a's own pointers must not
// point into Go's heap.
func single[T any](c *Call, fn unsafe.Pointer, a *T) func() {
	arg := (*T)(C.malloc(C.size_t(unsafe.Sizeof(*a))))
	*arg = *a
	return singleAt(c, fn, unsafe.Pointer(arg), unsafe.Pointer(arg))
}

// singleAt is single for an argument that lies in C memory already; what is in free is freed with the function.
func singleAt(c *Call, fn, arg unsafe.Pointer, free ...unsafe.Pointer) func() {
	c.native = native{fn, arg}
	one := &[1]C.rg_call{{fn: C.rg_call_fn(fn), arg: arg}}
	runtime.AddCleanup(one, func(ps []unsafe.Pointer) {
		for _, p := range ps {
			C.free(p)
		}
	}, free)
	return func() { C.rg_run_list(&one[0], 1) }
}

// sequence runs bound calls in order. Neighbours that are C functions run in one call into C: after every C call that is longer than
// some 20 µs Go's runtime has given the thread's place away and wakes a thread to watch over it, on a core that should be working.
type sequence struct {
	list []C.rg_call // fn is nil where only runs has the call
	runs []func()
}

func newSequence(runs []func(), natives []native) *sequence {
	s := &sequence{list: make([]C.rg_call, len(runs)), runs: runs}
	for i, n := range natives {
		s.list[i] = C.rg_call{fn: C.rg_call_fn(n.fn), arg: n.arg}
	}
	s.groupUpdates(natives)
	return s
}

func (s *sequence) run(from, to int) {
	for from < to {
		end := from
		for end < to && s.list[end].fn != nil {
			end++
		}
		if end == from {
			s.runs[from]()
			from++
			continue
		}
		C.rg_run_list(&s.list[from], C.long(end-from))
		from = end
	}
}
