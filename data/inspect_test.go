package data

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestInspectGuessesTheSource(t *testing.T) {
	dir := filepath.Dir(write(t, "input.txt", letters(1000)))
	for path, want := range map[string][]string{
		dir:                    {"vocabulary   28", `begins       "the quick brown`},
		idxFolder(t, 12, 6, 6): {"samples      10 training, 2 validation", "class        3: 1 training, 0 validation", "first        class 0"},
		write(t, "a.csv", []byte("x,c,y\n1,a,p\n2,b,q\n3,a,p\n")): {"column       x: numeric, mean 1.5", "column       y: target, category, 2 values: p, q"},
		write(t, "b.data", []byte("1,a,p\n2,b,q\n3,a,p\n")):       {"column       c3: target, category"},
		write(t, "c.bin", make([]byte, 4000)):                     {"1800 training and 200 validation tokens"},
	} {
		text, err := InspectPath(path)
		require.NoError(t, err)
		for _, w := range want {
			require.Contains(t, text, w)
		}
	}
	_, err := InspectPath(t.TempDir())
	require.ErrorContains(t, err, "holds no data set that ringo recognises")
	_, err = InspectPath("absent")
	require.ErrorContains(t, err, "absent: not found")
	require.Equal(t, "a·[31m", printable("a\x1b[31m"))
}
