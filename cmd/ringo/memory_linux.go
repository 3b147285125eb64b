package main

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// memory reports free and total memory.
func memory() finding {
	var s unix.Sysinfo_t
	if err := unix.Sysinfo(&s); err != nil {
		return finding{Name: "memory", Found: err.Error()}
	}
	unit := float64(s.Unit) / (1 << 30)
	return finding{Name: "memory", Found: fmt.Sprintf("%.1f GiB, %.1f GiB of it free", float64(s.Totalram)*unit, float64(s.Freeram)*unit), OK: true}
}
