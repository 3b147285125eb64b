//go:build cuda

package driver

// #include <dlfcn.h>
// #include <stdlib.h>
// static size_t ringo_version(void *f) { return ((size_t (*)(void))f)(); }
import "C"

import (
	"errors"
	"os"
	"unsafe"
)

// Library is a shared library of this process.
type Library struct {
	Handle unsafe.Pointer // dlopen's
	Path   string         // the file, or the name by which the loader found it
}

// OpenLibrary loads the first of some libraries that is there. A bare name, such as libnccl.so.2, is asked of the loader first
// (LD_LIBRARY_PATH and its cache), then looked for in Folders; a path is that file or nothing.
func OpenLibrary(names ...string) (Library, error) {
	var why error
	for _, path := range candidates(names, Folders()) {
		name := C.CString(path)
		handle := C.dlopen(name, C.RTLD_NOW|C.RTLD_LOCAL)
		C.free(unsafe.Pointer(name))
		if handle != nil {
			return Library{handle, path}, nil
		}
		// A file that is there and does not load says more than a name that is not found.
		if err := errors.New(C.GoString(C.dlerror())); why == nil || exists(path) {
			why = err
		}
	}
	return Library{}, why
}

// Version asks a function of the library, which takes nothing and returns a size_t; false where there is no such function.
func (l Library) Version(function string) (int, bool) {
	name := C.CString(function)
	defer C.free(unsafe.Pointer(name))
	f := C.dlsym(l.Handle, name)
	if f == nil {
		return 0, false
	}
	return int(C.ringo_version(f)), true
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
