// Package cgroup reads what a container or a service may use: the limits of the process's control group and of those above it. It
// must not know who asks.
package cgroup

import (
	"io/fs"
	"math"
	"os"
	"path"
	"runtime"
	"slices"
	"strconv"
	"strings"
)

// Limits of the process's control group: the smallest of its own and of those above it that it can see.
type Limits struct {
	CPUs   float64 // processors' worth of time, such as 1.5; +Inf where there is no limit
	Memory float64 // bytes; +Inf where there is no limit
	Left   float64 // bytes of memory that the groups may still take; +Inf where there is no limit. Files' pages that nobody used lately count in
}

// Read returns the limits as they are now. Where there are no control groups, or they cannot be read, there are no limits.
func Read() Limits { return read(os.DirFS("/")) }

// Processors is how many threads can compute at once: one per processor that this process may run on, no more than its
// control group's time is worth. Part of a processor counts as one: with 1.5 two threads were faster than one.
func Processors() int { return processors(runtime.NumCPU(), Read().CPUs) }

func processors(cpus int, limit float64) int {
	return max(1, int(min(float64(cpus), math.Ceil(limit))))
}

// read knows both versions, by their files: cgroups(7), and the kernel's admin-guide/cgroup-v2 and cgroup-v1.
func read(root fs.FS) Limits {
	l := Limits{CPUs: math.Inf(1), Memory: math.Inf(1), Left: math.Inf(1)}
	for line := range strings.Lines(text(root, "proc/self/cgroup")) {
		part := strings.SplitN(strings.TrimSpace(line), ":", 3) // ID:CONTROLLERS:/PATH
		if len(part) != 3 {
			continue
		}
		controllers := strings.Split(part[1], ",")
		if part[1] == "" { // version 2
			eachUp("sys/fs/cgroup", part[2], func(dir string) {
				quota, period, _ := strings.Cut(text(root, dir+"/cpu.max"), " ")
				l.CPUs = min(l.CPUs, share(quota, period))
				l.memory(root, dir+"/memory.max", dir+"/memory.current", dir+"/memory.stat", "inactive_file")
			})
		}
		if slices.Contains(controllers, "cpu") {
			eachUp("sys/fs/cgroup/cpu", part[2], func(dir string) {
				l.CPUs = min(l.CPUs, share(text(root, dir+"/cpu.cfs_quota_us"), text(root, dir+"/cpu.cfs_period_us")))
			})
		}
		if slices.Contains(controllers, "memory") {
			eachUp("sys/fs/cgroup/memory", part[2], func(dir string) {
				l.memory(root, dir+"/memory.limit_in_bytes", dir+"/memory.usage_in_bytes", dir+"/memory.stat", "total_inactive_file")
			})
		}
	}
	return l
}

// memory takes in a group's limit, and what is left of it.
func (l *Limits) memory(root fs.FS, limit, used, stat, inactive string) {
	most := number(text(root, limit))
	l.Memory = min(l.Memory, most)
	now := text(root, used)
	if math.IsInf(most, 1) || now == "" {
		return
	}
	l.Left = min(l.Left, max(0, most-amount(now)+amount(field(text(root, stat), inactive))))
}

// field is what stands behind a name at the start of a line.
func field(text, name string) string {
	for line := range strings.Lines(text) {
		if f := strings.Fields(line); len(f) == 2 && f[0] == name {
			return f[1]
		}
	}
	return ""
}

// amount is a number of bytes, 0 for what is none.
func amount(s string) float64 {
	v, err := strconv.ParseUint(strings.TrimSpace(s), 10, 63)
	if err != nil {
		return 0
	}
	return float64(v)
}

// eachUp calls f with the folder of a group below a mount and with all above it, the mount included. In a container the path may
// be the host's, of which only the mount is there: it then holds the container's own group.
func eachUp(mount, group string, f func(dir string)) {
	for group = path.Clean("/" + group); ; group = path.Dir(group) {
		f(path.Join(mount, group))
		if group == "/" {
			return
		}
	}
}

// text is the first 4 KiB of a file, "" where it cannot be read.
func text(root fs.FS, name string) string {
	f, err := root.Open(name)
	if err != nil {
		return ""
	}
	defer f.Close()
	var b [4096]byte
	n, _ := f.Read(b[:]) // such files come in one read
	return string(b[:n])
}

// share is quota/period, the microseconds of processors that a group has in every period: +Inf where there is no quota.
func share(quota, period string) float64 {
	q, p := number(quota), number(period)
	if math.IsInf(q, 1) || math.IsInf(p, 1) {
		return math.Inf(1)
	}
	return q / p
}

// number is +Inf for whatever is no limit: "max" in version 2, −1 in version 1, and a file that is not there. Version 1 writes "no
// limit" of memory as the largest multiple of a page below 2⁶³.
func number(s string) float64 {
	v, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
	if err != nil || !(v >= 1 && v < 1<<62) {
		return math.Inf(1)
	}
	return v
}
