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

// registerSlack is what a kernel may take beyond the table: another version of the compiler counts a little differently.
const registerSlack = 8

// readResources reads lines of "kernel arch registers R spill_stores S spill_loads L shared B".
func readResources(t *testing.T, path string) map[string]resources {
	t.Helper()
	f, err := os.Open(path)
	if os.IsNotExist(err) {
		t.Skipf("%s is not there: scripts/cuda.sh image compiles the kernels and writes it", path)
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

// A kernel that takes more registers or spills more than the committed table says is slower than it was.
func TestResources(t *testing.T) {
	t.Parallel()
	now := readResources(t, "../bin/cuda/resources.txt")
	table := readResources(t, "../kernels/resources.txt")
	const remedy = "; where that is meant, scripts/cuda.sh resources writes the table"
	for kernel, r := range now {
		was, ok := table[kernel]
		require.True(t, ok, "%s is not in kernels/resources.txt%s", kernel, remedy)
		require.LessOrEqual(t, r.registers, was.registers+registerSlack, "%s: registers%s", kernel, remedy)
		require.LessOrEqual(t, r.stores+r.loads, was.stores+was.loads, "%s: bytes spilled%s", kernel, remedy)
	}
	for kernel := range table {
		_, ok := now[kernel]
		require.True(t, ok, "%s is in kernels/resources.txt and in no .cu file%s", kernel, remedy)
	}
}
