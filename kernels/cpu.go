package kernels

import (
	"os"
	"slices"
	"sync"

	"ringo/internal/cgroup"
)

// isaNames lists the instruction-set levels of rg.h, lowest first.
var isaNames = []string{"generic", "avx2", "avx512", "amx"}

var initOnce sync.Once

// Init starts the thread pool that all kernels of the process share; threads < 1 means one per CPU, no more than the control group
// has time for. The first call decides. The environment variable RINGO_ISA caps the instruction-set level (generic, avx2, avx512, amx), for
// tests and for comparing machines.
func Init(threads int) {
	initOnce.Do(func() {
		if threads < 1 {
			threads = cgroup.Processors()
		}
		initCPU(maxISA(), threads)
	})
}

// maxISA is the level that RINGO_ISA names, else the highest.
func maxISA() int {
	if level := slices.Index(isaNames, os.Getenv("RINGO_ISA")); level >= 0 {
		return level
	}
	return len(isaNames) - 1
}

// ISA names the instruction-set level in use.
func ISA() string { return isaNames[isaLevel()] }

// hasAMX reports whether products of bf16 run on AMX.
func hasAMX() bool { return isaLevel() == len(isaNames)-1 }

// Threads returns how many threads kernels run on.
func Threads() int { return threads() }
