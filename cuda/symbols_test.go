//go:build cuda

package cuda_test

import (
	"debug/elf"
	"os"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
)

// driverNames lists the driver functions that cuda/driver has trampolines for.
func driverNames(t *testing.T) (names []string) {
	t.Helper()
	raw, err := os.ReadFile("driver/symbols.h")
	require.NoError(t, err)
	for _, m := range regexp.MustCompile(`(?m)^SYMBOL\((\w+)\)`).FindAllSubmatch(raw, -1) {
		names = append(names, string(m[1]))
	}
	require.Greater(t, len(names), 100)
	return names
}

// A program's own symbols come before those of the libraries that it loads, and go-nvml has the linker export them all: were
// these among them, what libcuda.so.1 or a profiler asks of the driver would come here.
func TestTrampolinesAreNotExported(t *testing.T) {
	t.Parallel()
	self, err := elf.Open("/proc/self/exe")
	require.NoError(t, err)
	defer self.Close()
	symbols, err := self.DynamicSymbols()
	require.NoError(t, err)
	exported := map[string]bool{}
	for _, s := range symbols {
		exported[s.Name] = s.Section != elf.SHN_UNDEF
	}
	for _, n := range append(driverNames(t), "cuInit") {
		require.NotContains(t, exported, n)
	}
}
