//go:build !cgo

package kernels

// Without C there is one level, plain Go.
func initCPU(maxISA, threads int) {}
func isaLevel() int               { return 0 }
func threads() int                { return 1 }
