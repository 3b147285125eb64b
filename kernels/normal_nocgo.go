//go:build !cgo

package kernels

import "ringo/runtime/tensor"

// FillNormal writes what p.FillNormal does.
func FillNormal(dst []float32, p tensor.Philox, mean, std float32) { p.FillNormal(dst, mean, std) }
