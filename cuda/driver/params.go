//go:build cuda

package driver

// #include <cuda.h>
// // Declared here, since headers before 12.4 lack it.
// extern CUresult cuFuncGetParamInfo(CUfunction f, size_t index, size_t *offset, size_t *size);
// extern CUresult cuFuncLoad(CUfunction f);
// static CUresult ringo_param_size(CUfunction f, size_t i, size_t *size) {
//   size_t offset;
//   return cuFuncGetParamInfo(f, i, &offset, size);
// }
import "C"

import "gorgonia.org/cu"

// Load puts a kernel's code on the device now, where the driver would wait for the first launch: that may be inside a
// capture, or while other work must go on. Drivers before 12.4 load it when it is looked up.
func Load(f cu.Function) error {
	rc := C.cuFuncLoad((C.CUfunction)(handle(f)))
	if rc == C.CUDA_ERROR_NOT_FOUND {
		return nil
	}
	return Result(int(rc))
}

// StaticShared is how many bytes of shared memory a kernel has beside what a launch asks for.
func StaticShared(f cu.Function) (int, error) {
	var n C.int
	err := Result(int(C.cuFuncGetAttribute(&n, C.CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES, (C.CUfunction)(handle(f)))))
	return int(n), err
}

func paramSize(f cu.Function, i int) (int, C.CUresult) {
	var n C.size_t
	rc := C.ringo_param_size((C.CUfunction)(handle(f)), C.size_t(i), &n)
	return int(n), rc
}
