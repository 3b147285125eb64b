//go:build cuda

package driver

// #cgo LDFLAGS: -L${SRCDIR}/lib -Wl,--as-needed -ldl
// #include <stdlib.h>
// #include "resolve.h"
import "C"

import (
	"fmt"
	"sync"
	"unsafe"
)

var library struct {
	sync.Mutex
	path string
	open bool
}

// Open loads the driver library: "" is the system's CUDA driver, anything else a path, such as that of the
// software device. A process has one driver: a second call with the same path does nothing, one with another path is an error.
func Open(path string) error {
	library.Lock()
	defer library.Unlock()
	if library.open {
		if path != library.path {
			return fmt.Errorf("this process already uses the CUDA driver %s, so it cannot open %s: use one of them per process", Name(library.path), Name(path))
		}
		return nil
	}
	p := C.CString(path)
	defer C.free(unsafe.Pointer(p))
	if rc := C.ringo_cuda_open(p); rc != 0 {
		return fmt.Errorf("no CUDA driver: %s", C.GoString(C.ringo_cuda_why()))
	}
	library.path, library.open = path, true
	return nil
}

// Name is what people call a library path.
func Name(path string) string {
	if path == "" {
		return "libcuda.so.1"
	}
	return path
}
