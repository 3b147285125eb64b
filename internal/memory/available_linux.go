package memory

import (
	"os"
	"strconv"
	"strings"

	"ringo/internal/cgroup"
)

func available() (int64, bool) {
	raw, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, false
	}
	left, ok := memAvailable(string(raw))
	return int64(min(float64(left), cgroup.Read().Left)), ok
}

// memAvailable reads /proc/meminfo (proc_meminfo(5)), in bytes.
func memAvailable(text string) (int64, bool) {
	const kib = 1 << 10
	for line := range strings.Lines(text) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "MemAvailable:" {
			n, err := strconv.ParseInt(f[1], 10, 53)
			return n * kib, err == nil
		}
	}
	return 0, false
}
