//go:build cuda

package cuda

import (
	"bufio"
	"fmt"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// resources are what one kernel takes on one architecture.
type resources struct{ registers, stores, loads, shared int }

// What a kernel may take beyond the table: another version of the table's compiler counts a little differently, another
// major version a little more so.
const registerSlack, checkSlack = 8, 16

// readResources reads lines of "kernel arch registers R spill_stores S spill_loads L shared B".
func readResources(t *testing.T, path string) map[string]resources {
	t.Helper()
	f, err := os.Open(path)
	if os.IsNotExist(err) {
		t.Skipf("%s is not there: scripts/cuda.sh image and check compile the kernels and write it", path)
	}
	require.NoError(t, err)
	defer f.Close()
	out := map[string]resources{}
	for s := bufio.NewScanner(f); s.Scan(); {
		var kernel, arch string
		var r resources
		_, err := fmt.Sscanf(s.Text(), "%s %s registers %d spill_stores %d spill_loads %d shared %d", &kernel, &arch, &r.registers, &r.stores, &r.loads, &r.shared)
		require.NoError(t, err, "%s: %q", path, s.Text())
		out[kernel+" "+arch] = r
	}
	return out
}

// A kernel that takes more registers or spills more than the committed table says is slower than it was: as it ships, and
// by nvcc 13.
func TestResources(t *testing.T) {
	t.Parallel()
	t.Run("images", func(t *testing.T) { holdResources(t, "../bin/cuda/resources.txt", registerSlack) })
	t.Run("check", func(t *testing.T) { holdResources(t, "../bin/cuda/check/resources.txt", checkSlack) })
}

// holdResources demands of every kernel in path no more than the committed table says, and slack registers.
func holdResources(t *testing.T, path string, slack int) {
	now := readResources(t, path)
	table := readResources(t, "../kernels/resources.txt")
	const remedy = "; where that is meant, scripts/cuda.sh resources writes the table"
	for kernel, r := range now {
		was, ok := table[kernel]
		require.True(t, ok, "%s is not in kernels/resources.txt%s", kernel, remedy)
		require.LessOrEqual(t, r.registers, was.registers+slack, "%s: registers%s", kernel, remedy)
		require.LessOrEqual(t, r.stores+r.loads, was.stores+was.loads, "%s: bytes spilled%s", kernel, remedy)
	}
	for kernel := range table {
		_, ok := now[kernel]
		require.True(t, ok, "%s is in kernels/resources.txt and in no .cu file%s", kernel, remedy)
	}
}
