//go:build !linux

package memory

// Release does nothing here.
func Release([]byte) {}

func releaseProgram() {}
