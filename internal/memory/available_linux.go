package memory

import (
	"os"
	"path"
	"strconv"
	"strings"
)

// The files that say what a control group may have and has (Linux, cgroup-v2.rst and cgroup-v1/memory.rst): version 2 first.
var groupFiles = []struct{ root, limit, used, inactive string }{
	{"/sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"},
	{"/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"},
}

func available() (int64, bool) {
	raw, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, false
	}
	left, known := field(string(raw), "MemAvailable:")
	left <<= 10 // the file counts in KiB
	groups, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return left, known
	}
	for version, in := range groupPaths(string(groups)) {
		for dir := in; dir != ""; dir = above(dir) {
			if n, ok := groupLeft(version, dir); ok && (!known || n < left) {
				left, known = n, true
			}
		}
	}
	return left, known
}

// groupPaths reads /proc/self/cgroup (cgroups(7)): the process's group in version 2, and that of memory in version 1, "" for none.
func groupPaths(text string) (paths [2]string) {
	for line := range strings.Lines(text) {
		part := strings.SplitN(strings.TrimSpace(line), ":", 3)
		switch {
		case len(part) < 3:
		case part[0] == "0":
			paths[0] = part[2]
		case part[1] == "memory":
			paths[1] = part[2]
		}
	}
	return paths
}

// above is the group that holds dir, "" for the root's.
func above(dir string) string {
	if dir == "/" || !strings.HasPrefix(dir, "/") {
		return ""
	}
	return path.Dir(dir)
}

// groupLeft is what a group may still take; pages of files that nobody used lately count as free, as MemAvailable does.
func groupLeft(version int, dir string) (int64, bool) {
	f := groupFiles[version]
	read := func(name string) string {
		raw, _ := os.ReadFile(path.Join(f.root, dir, name)) // no such file: no such limit
		return strings.TrimSpace(string(raw))
	}
	limit, err := strconv.ParseInt(read(f.limit), 10, 64) // "max" is no number: no limit
	if err != nil {
		return 0, false
	}
	used, err := strconv.ParseInt(read(f.used), 10, 64)
	if err != nil {
		return 0, false
	}
	inactive, _ := field(read("memory.stat"), f.inactive)
	return max(0, limit-used+inactive), true
}

// field is the number behind a name at the start of a line.
func field(text, name string) (int64, bool) {
	for line := range strings.Lines(text) {
		if f := strings.Fields(line); len(f) >= 2 && f[0] == name {
			n, err := strconv.ParseInt(f[1], 10, 64)
			return n, err == nil
		}
	}
	return 0, false
}
