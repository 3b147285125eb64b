package memory

import (
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestUnwritten: of a program's mappings only code and constants that nobody changed are named.
func TestUnwritten(t *testing.T) {
	t.Parallel()
	const smaps = `00402000-00f30000 r-xp 00002000 fe:00 1234                               /opt/my ringo
Rss:               11192 kB
Anonymous:             0 kB
VmFlags: rd ex mr mw me
00f30000-01932000 r-xp 00b30000 fe:00 1234                               /opt/my ringo
Anonymous:             4 kB
01932000-01934000 r--p 01532000 fe:00 1234                               /opt/my ringo
Anonymous:             8 kB
01934000-01e9a000 rw-p 01534000 fe:00 1234                               /opt/my ringo
Anonymous:             0 kB
01e9a000-03ee0000 rw-p 00000000 00:00 0
Anonymous:             0 kB
7f0000000000-7f0000002000 r--p 00000000 fe:00 99                         /usr/lib/libc.so.6
Anonymous:             0 kB
7f0000002000-7f0000003000 r--p 00000000 fe:00 1234                       /opt/my ringo
Anonymous:             0 kB
`
	require.Equal(t, []mapping{{0x402000, 0xf30000}, {0x7f0000002000, 0x7f0000003000}}, unwritten(strings.NewReader(smaps), "/opt/my ringo"))
	require.Empty(t, unwritten(strings.NewReader("x"), "x"))
}

// TestSettle: the program's own mappings are found, and what was given back works as before.
func TestSettle(t *testing.T) {
	t.Parallel()
	exe, err := os.Readlink("/proc/self/exe")
	require.NoError(t, err)
	f, err := os.Open("/proc/self/smaps")
	require.NoError(t, err)
	defer f.Close()
	require.NotEmpty(t, unwritten(f, exe))
	text := strings.Repeat("constant ", 3)
	for range 3 {
		Settle()
		runtime.GC()
		require.Equal(t, "constant constant constant ", text)
		require.Panics(t, func() { _ = []int{}[len(text)] })
	}
}
