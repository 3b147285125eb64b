package kernels

import "syscall"

// Below this size huge pages would only waste memory.
const hugeThreshold = 2 << 20

// adviseHugePages asks for transparent huge pages: all of an arena is walked every step, and
// with 4 KiB pages address translation costs several percent of it.
func adviseHugePages(b []byte) {
	if len(b) >= hugeThreshold {
		_ = syscall.Madvise(b, syscall.MADV_HUGEPAGE) // advice only: a refusal changes nothing but speed
	}
}
