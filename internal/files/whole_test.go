package files_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"ringo/internal/exporttest"
	"ringo/internal/files"
)

func part(name, body string) files.Part {
	return files.Part{Name: name, Write: func(w io.Writer) error { _, err := io.WriteString(w, body); return err }}
}

func read(t *testing.T, path string) string {
	t.Helper()
	raw, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(raw)
}

func TestWriteFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, files.Write(files.OS{}, dir, part("a.data", "1"), part("a", "2")))
	require.NoError(t, files.Write(files.OS{}, dir, part("a", "3")))
	require.Equal(t, "13", read(t, filepath.Join(dir, "a.data"))+read(t, filepath.Join(dir, "a")))
}

// failing renames only so many times.
type failing struct {
	files.OS
	renames int
}

var errBroken = errors.New("the wire is cut")

func (f *failing) Rename(old, new string) error {
	if f.renames--; f.renames < 0 {
		return errBroken
	}
	return f.OS.Rename(old, new)
}

// TestFailuresLeaveNothing fails at every point of writing two files and a folder.
func TestFailuresLeaveNothing(t *testing.T) {
	t.Parallel()
	boom := files.Part{Name: "b", Write: func(io.Writer) error { return errBroken }}
	two := []files.Part{part("a", strings.Repeat("x", 3000)), part("b", "yy")}
	for name, write := range map[string]func(fs files.FS, dir string, parts []files.Part) error{
		"files": func(fs files.FS, dir string, parts []files.Part) error { return files.Write(fs, dir, parts...) },
		"folder": func(fs files.FS, dir string, parts []files.Part) error {
			return files.WriteFolder(fs, filepath.Join(dir, "f"), parts)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, c := range []struct {
				fs    files.FS
				parts []files.Part
				want  error
			}{
				{files.OS{}, []files.Part{two[0], boom}, errBroken},
				{&exporttest.FullDisk{Left: 100}, two, exporttest.ErrDiskFull},
				{&exporttest.FullDisk{Left: 3001}, two, exporttest.ErrDiskFull},
				{exporttest.ReadOnly{}, two, syscall.EROFS},
				{&failing{}, two, errBroken},
				{&failing{renames: 1}, two, errBroken},
			} {
				dir := t.TempDir()
				err := write(c.fs, dir, c.parts)
				if f, ok := c.fs.(*failing); ok && f.renames == 0 { // a folder takes one rename
					require.NoError(t, err)
					continue
				}
				require.ErrorIs(t, err, c.want)
				require.NotContains(t, strings.SplitN(err.Error(), "rename", 2)[0], ".tmp-")
				exporttest.Empty(t, dir)
			}
		})
	}
}

func ExampleWrite() {
	dir, err := os.MkdirTemp("", "files")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	greeting := files.Part{Name: "greeting", Write: func(w io.Writer) error { _, err := io.WriteString(w, "hello"); return err }}
	half := files.Part{Name: "half", Write: func(w io.Writer) error { return errors.New("no more") }}
	err = files.Write(files.OS{}, dir, greeting, half)
	_, absent := os.Stat(filepath.Join(dir, "greeting"))
	fmt.Println(err != nil, os.IsNotExist(absent), files.Write(files.OS{}, dir, greeting))
	// Output: true true <nil>
}
