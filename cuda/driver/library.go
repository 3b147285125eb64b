//go:build cuda

package driver

// #include <dlfcn.h>
// #include <stdlib.h>
// static int ringo_version(void *f, int by_pointer) {
//   int v = 0;
//   if (!by_pointer) return (int)((size_t (*)(void))f)();
//   return ((int (*)(int *))f)(&v) ? 0 : v;
// }
import "C"

import "unsafe"

// LibraryVersion opens the first of some shared libraries that is there and asks a function for its version, which it
// returns (byPointer) through an int pointer or as its result. False where there is no such library.
func LibraryVersion(symbol string, byPointer bool, names ...string) (int, bool) {
	sym := C.CString(symbol)
	defer C.free(unsafe.Pointer(sym))
	for _, n := range names {
		name := C.CString(n)
		lib := C.dlopen(name, C.RTLD_LAZY|C.RTLD_LOCAL)
		C.free(unsafe.Pointer(name))
		if lib == nil {
			continue
		}
		f := C.dlsym(lib, sym)
		if f == nil {
			return 0, false
		}
		how := C.int(0)
		if byPointer {
			how = 1
		}
		return int(C.ringo_version(f, how)), true
	}
	return 0, false
}
