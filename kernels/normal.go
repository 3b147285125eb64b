package kernels

import "ringo/runtime/tensor"

// FillNormal draws initial values; see the function of that name.
func (s *store) FillNormal(dst []float32, p tensor.Philox, mean, std float32) {
	FillNormal(dst, p, mean, std)
}
