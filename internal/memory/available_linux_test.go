package memory

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAvailable(t *testing.T) {
	t.Parallel()
	n, ok := Available()
	require.True(t, ok)
	require.Greater(t, n, int64(1<<20))
	require.Less(t, n, int64(1)<<50)
}

func TestGroupPaths(t *testing.T) {
	t.Parallel()
	require.Equal(t, [2]string{"/user.slice/a:b", ""}, groupPaths("0::/user.slice/a:b\n"))
	require.Equal(t, [2]string{"/", "/job/7"}, groupPaths("9:name=systemd:/\n4:memory:/job/7\n0::/\n"))
	require.Equal(t, [2]string{}, groupPaths("nonsense\n"))
	var dirs []string
	for d := "/a/b"; d != ""; d = above(d) {
		dirs = append(dirs, d)
	}
	require.Equal(t, []string{"/a/b", "/a", "/"}, dirs)
	require.Empty(t, above("relative"))
}

func TestField(t *testing.T) {
	t.Parallel()
	const text = "anon 5\ninactive_file 4096\nMemAvailable:   17 kB\n"
	n, ok := field(text, "inactive_file")
	require.True(t, ok)
	require.EqualValues(t, 4096, n)
	n, _ = field(text, "MemAvailable:")
	require.EqualValues(t, 17, n)
	_, ok = field(text, "file")
	require.False(t, ok)
}
