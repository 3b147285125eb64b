//go:build cuda

package driver

// #include <cuda.h>
// // Declared here, since headers before 12.4 lack it.
// extern CUresult cuFuncGetParamInfo(CUfunction f, size_t index, size_t *offset, size_t *size);
// static CUresult ringo_param_size(CUfunction f, size_t i, size_t *size) {
//   size_t offset;
//   return cuFuncGetParamInfo(f, i, &offset, size);
// }
import "C"

import "gorgonia.org/cu"

func paramSize(f cu.Function, i int) (int, C.CUresult) {
	var n C.size_t
	rc := C.ringo_param_size((C.CUfunction)(handle(f)), C.size_t(i), &n)
	return int(n), rc
}
