//go:build !linux

package memory

// Release does nothing here.
func Release([]byte) {}

func releaseProgram() {}

func available() (int64, bool) { return 0, false }
