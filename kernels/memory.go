package kernels

import (
	"fmt"
	"runtime"
	"syscall"
)

// Arena is memory outside the Go heap: C kernels may keep pointers into it, the garbage collector never
// scans it, and pages that nobody touches cost nothing.
type Arena struct{ Bytes []byte }

// readPast is what integer kernels may read, and ignore, behind the end of their input.
const readPast = 64

// NewArena maps n zeroed bytes, with readable memory behind them. It returns an error where the system refuses them.
func NewArena(n int) (*Arena, error) {
	if n == 0 {
		return &Arena{}, nil
	}
	b, err := syscall.Mmap(-1, 0, roundToHugePages(n+readPast), syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		return nil, fmt.Errorf("arena of %d bytes: %w; use a smaller batch or model", n, err)
	}
	adviseHugePages(b)
	a := &Arena{Bytes: b[:n]}
	runtime.SetFinalizer(a, (*Arena).Close)
	return a, nil
}

// Close unmaps the memory; views into it must not be used afterwards.
func (a *Arena) Close() error {
	if a.Bytes == nil {
		return nil
	}
	b := a.Bytes[:cap(a.Bytes)]
	a.Bytes = nil
	runtime.SetFinalizer(a, nil)
	return syscall.Munmap(b)
}
