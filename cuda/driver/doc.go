// Package driver owns the way to the CUDA driver: its functions bound at run time, so that one binary starts with
// and without a GPU, and what gorgonia.org/cu lacks: launches of a whole list in one cgo call, stream
// capture, graph launch, pinned memory, IPC. Everything but this file needs the build tag cuda. It must not know of
// programs or kernels.
package driver
