// Package cuda owns the CUDA backend: devices, their memory, streams and captured graphs, and programs bound to
// them. It registers the devices "cuda" and "soft" (the software CUDA device of cuda/soft, for tests). Everything but
// this file needs the build tag cuda. What an op launches is described in kernels (F_cuda.go); this package
// must not know any op.
package cuda
