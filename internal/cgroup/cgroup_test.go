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
		"nothing": {nil, Limits{none, none}},
		"version 2, in a container": {map[string]string{
			"proc/self/cgroup":         "0::/",
			"sys/fs/cgroup/cpu.max":    "150000 100000",
			"sys/fs/cgroup/memory.max": "1073741824",
		}, Limits{1.5, 1 << 30}},
		"version 2, no limit": {map[string]string{
			"proc/self/cgroup":                    "0::/user.slice",
			"sys/fs/cgroup/user.slice/cpu.max":    "max 100000",
			"sys/fs/cgroup/user.slice/memory.max": "max",
		}, Limits{none, none}},
		"version 2, a group above has less": {map[string]string{
			"proc/self/cgroup":                              "0::/jobs.slice/a.service",
			"sys/fs/cgroup/jobs.slice/cpu.max":              "400000 100000",
			"sys/fs/cgroup/jobs.slice/a.service/cpu.max":    "800000 100000",
			"sys/fs/cgroup/jobs.slice/memory.max":           "max",
			"sys/fs/cgroup/jobs.slice/a.service/memory.max": "4096",
		}, Limits{4, 4096}},
		"version 1, in a container, with the host's path": {map[string]string{
			"proc/self/cgroup":                           "9:memory:/docker/5e\n4:cpu,cpuacct:/docker/5e\n0::/docker/5e",
			"sys/fs/cgroup/cpu/cpu.cfs_quota_us":         "50000",
			"sys/fs/cgroup/cpu/cpu.cfs_period_us":        "100000",
			"sys/fs/cgroup/memory/memory.limit_in_bytes": "2147483648",
		}, Limits{0.5, 2 << 30}},
		"version 1, no limit": {map[string]string{
			"proc/self/cgroup":                           "9:memory:/\n4:cpu:/\nnonsense",
			"sys/fs/cgroup/cpu/cpu.cfs_quota_us":         "-1",
			"sys/fs/cgroup/cpu/cpu.cfs_period_us":        "100000",
			"sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712",
		}, Limits{none, none}},
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
	f.Add("0::/a", "150000 100000", "max")
	f.Add("4:cpu,memory:/a", "-1", "9223372036854771712")
	f.Fuzz(func(t *testing.T, groups, cpu, memory string) {
		l := read(tree(map[string]string{"proc/self/cgroup": groups, "sys/fs/cgroup/cpu.max": cpu, "sys/fs/cgroup/memory.max": memory,
			"sys/fs/cgroup/cpu/cpu.cfs_quota_us": cpu, "sys/fs/cgroup/memory/memory.limit_in_bytes": memory}))
		require.True(t, l.CPUs > 0 && l.Memory > 0, "%+v", l)
	})
}
