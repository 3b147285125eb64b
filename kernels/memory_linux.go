package kernels

import "syscall"

const (
	hugePage      = 2 << 20
	hugeThreshold = hugePage / 2 // below this huge pages would only waste memory
)

// roundToHugePages returns the length to map for n bytes: a whole huge page where that wastes little. Linux aligns mappings that have room for one.
func roundToHugePages(n int) int {
	if n < hugeThreshold {
		return n
	}
	return max(n, hugePage)
}

// adviseHugePages asks for transparent huge pages: all of an arena is walked every step, and
// with 4 KiB pages address translation costs several percent of it.
func adviseHugePages(b []byte) {
	if len(b) >= hugeThreshold {
		_ = syscall.Madvise(b, syscall.MADV_HUGEPAGE) // advice only: a refusal changes nothing but speed
	}
}
