//go:build cgo

package kernels

// #include "native.h"
// #include "optim.h"
// #include <stdlib.h>
import "C"

import (
	"runtime"
	"unsafe"
)

var optimRules = map[unsafe.Pointer]C.int{C.rg_adamw: C.RG_ADAMW, C.rg_sgd: C.RG_SGD, C.rg_lion: C.RG_LION}

// groupUpdates makes one call of neighbours that move parameters by one rule: most parameters are so small that waking the pool, or
// working alone, takes longer than moving them.
func (s *sequence) groupUpdates(natives []native) {
	for i := 0; i < len(natives); {
		rule, ok := optimRules[natives[i].fn]
		end := i + 1
		for ok && end < len(natives) && natives[end].fn == natives[i].fn {
			end++
		}
		if end-i > 1 {
			s.list[i].group = s.updateGroup(rule, natives[i:end])
		}
		i = end
	}
}

func (s *sequence) updateGroup(rule C.int, updates []native) *C.rg_group {
	var pieces []C.rg_optim_piece
	for _, u := range updates {
		a := (*C.rg_optim)(u.arg)
		for at := range C.rg_optim_pieces(a.n) {
			pieces = append(pieces, C.rg_optim_piece{of: a, at: at})
		}
	}
	list := (*C.rg_optim_piece)(C.malloc(C.size_t(len(pieces)) * C.sizeof_rg_optim_piece))
	copy(unsafe.Slice(list, len(pieces)), pieces)
	g := (*C.rg_optim_group)(C.malloc(C.sizeof_rg_optim_group))
	*g = C.rg_optim_group{rule: rule, count: C.long(len(pieces)), pieces: list}
	call := (*C.rg_group)(C.malloc(C.sizeof_rg_group))
	*call = C.rg_group{fn: C.rg_call_fn(C.rg_optim_run), arg: unsafe.Pointer(g), count: C.long(len(updates))}
	runtime.AddCleanup(s, func(ps [3]unsafe.Pointer) {
		for _, p := range ps {
			C.free(p)
		}
	}, [3]unsafe.Pointer{unsafe.Pointer(list), unsafe.Pointer(g), unsafe.Pointer(call)})
	return call
}
