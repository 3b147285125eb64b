//go:build !linux

package kernels

// Cores returns nil: this system does not say which processors a process may use.
func Cores() []int { return nil }

// PinCores does nothing: this system chooses processors itself.
func PinCores([]int) error { return nil }
