package cgroup

import (
	"math"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
)

func tree(files map[string]string) fstest.MapFS {
	root := fstest.MapFS{}
	for name, text := range files {
		root[name] = &fstest.MapFile{Data: []byte(text + "\n")}
	}
	return root
}

func TestRead(t *testing.T) {
	t.Parallel()
	none := math.Inf(1)
	for name, c := range map[string]struct {
		files map[string]string
		want  Limits
	}{
		"nothing": {nil, Limits{none, none, none}},
		"version 2, in a container": {map[string]string{
			"proc/self/cgroup":         "0::/",
			"sys/fs/cgroup/cpu.max":    "150000 100000",
			"sys/fs/cgroup/memory.max": "1073741824",
		}, Limits{1.5, 1 << 30, none}},
		"version 2, no limit": {map[string]string{
			"proc/self/cgroup":                    "0::/user.slice",
			"sys/fs/cgroup/user.slice/cpu.max":    "max 100000",
			"sys/fs/cgroup/user.slice/memory.max": "max",
		}, Limits{none, none, none}},
		"version 2, a group above has less": {map[string]string{
			"proc/self/cgroup":                              "0::/jobs.slice/a.service",
			"sys/fs/cgroup/jobs.slice/cpu.max":              "400000 100000",
			"sys/fs/cgroup/jobs.slice/a.service/cpu.max":    "800000 100000",
			"sys/fs/cgroup/jobs.slice/memory.max":           "max",
			"sys/fs/cgroup/jobs.slice/a.service/memory.max": "4096",
		}, Limits{4, 4096, none}},
		"version 2, with what it takes": {map[string]string{
			"proc/self/cgroup":               "0::/a",
			"sys/fs/cgroup/a/memory.max":     "10000",
			"sys/fs/cgroup/a/memory.current": "7000",
			"sys/fs/cgroup/a/memory.stat":    "anon 4000\ninactive_file 2500\nactive_file 500",
			"sys/fs/cgroup/memory.max":       "20000",
			"sys/fs/cgroup/memory.current":   "19000",
		}, Limits{none, 10000, 1000}},
		"version 1, in a container, with the host's path": {map[string]string{
			"proc/self/cgroup":                           "9:memory:/docker/5e\n4:cpu,cpuacct:/docker/5e\n0::/docker/5e",
			"sys/fs/cgroup/cpu/cpu.cfs_quota_us":         "50000",
			"sys/fs/cgroup/cpu/cpu.cfs_period_us":        "100000",
			"sys/fs/cgroup/memory/memory.limit_in_bytes": "2147483648",
			"sys/fs/cgroup/memory/memory.usage_in_bytes": "3000000000",
			"sys/fs/cgroup/memory/memory.stat":           "inactive_file 5\ntotal_inactive_file 7",
		}, Limits{0.5, 2 << 30, 0}},
		"version 1, no limit": {map[string]string{
			"proc/self/cgroup":                           "9:memory:/\n4:cpu:/\nnonsense",
			"sys/fs/cgroup/cpu/cpu.cfs_quota_us":         "-1",
			"sys/fs/cgroup/cpu/cpu.cfs_period_us":        "100000",
			"sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712",
			"sys/fs/cgroup/memory/memory.usage_in_bytes": "3000000000",
		}, Limits{none, none, none}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, c.want, read(tree(c.files)))
		})
	}
}

func TestProcessors(t *testing.T) {
	t.Parallel()
	require.Equal(t, 64, processors(64, math.Inf(1)))
	require.Equal(t, 4, processors(64, 4))
	require.Equal(t, 2, processors(64, 1.5))
	require.Equal(t, 1, processors(64, 0.25))
	require.Equal(t, 2, processors(2, 8))
}

// FuzzRead reads any text where the kernel's should be: limits stay positive.
func FuzzRead(f *testing.F) {
	f.Add("0::/a", "150000 100000", "max", "")
	f.Add("4:cpu,memory:/a", "-1", "9223372036854771712", "inactive_file -1")
	f.Fuzz(func(t *testing.T, groups, cpu, memory, stat string) {
		l := read(tree(map[string]string{"proc/self/cgroup": groups, "sys/fs/cgroup/cpu.max": cpu, "sys/fs/cgroup/memory.max": memory,
			"sys/fs/cgroup/cpu/cpu.cfs_quota_us": cpu, "sys/fs/cgroup/memory/memory.limit_in_bytes": memory,
			"sys/fs/cgroup/memory.current": memory, "sys/fs/cgroup/memory.stat": stat}))
		require.True(t, l.CPUs > 0 && l.Memory > 0 && l.Left >= 0, "%+v", l)
	})
}
