// Package lint holds the project's own rules as tests, as Go does in go/build/deps_test.go.
package lint

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// rooms is the house: a folder, and the folders of this module that it and its subfolders may import. "*"
// means any room but cmd. The longest matching folder counts.
var rooms = map[string][]string{
	"runtime/tensor":              {},
	"runtime/graph":               {"runtime/tensor"},
	"runtime/plan":                {"runtime/graph", "runtime/tensor"},
	"runtime/backend":             {"runtime/plan", "runtime/graph", "runtime/tensor"},
	"runtime/backend/backendtest": {"runtime"},
	"runtime":                     {"runtime"},
	"kernels":                     {"runtime", "internal/cgroup"},
	"cuda":                        {"runtime", "kernels"},
	"collective":                  {"runtime/tensor"},
	"models":                      {"runtime/graph", "runtime/tensor"},
	"data":                        {"runtime/tensor", "internal/files"},
	"train":                       {"runtime", "models", "data", "collective", "export/safetensors", "internal/files", "internal/memory"},
	"export":                      {"runtime", "models", "data", "internal/files"},
	"serve":                       {"export", "models", "runtime"},
	"bench":                       {"*"},
	"internal":                    {"*"},
	"internal/cgroup":             {},
	"internal/files":              {},
	"internal/memory":             {"internal/cgroup"},
	"cmd":                         {"*"},
}

// TestImports fails on an arrow between rooms that the table does not have. Tests of a room may import any
// room: they look at it from outside.
func TestImports(t *testing.T) {
	t.Parallel()
	root := repoRoot(t)
	eachGoFile(t, root, func(path string) {
		if strings.HasSuffix(path, "_test.go") {
			return
		}
		from := filepath.ToSlash(filepath.Dir(path))
		allowed, room := allowedFrom(from)
		require.NotEmpty(t, room, "%s: folder %q is no room of the table", path, from)
		f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, path), nil, parser.ImportsOnly)
		require.NoError(t, err)
		for _, spec := range f.Imports {
			to, _ := strconv.Unquote(spec.Path.Value)
			to, ok := strings.CutPrefix(to, "ringo/")
			if !ok {
				continue
			}
			ok = within(to, room) || slices.ContainsFunc(allowed, func(a string) bool { return a == "*" && !within(to, "cmd") || within(to, a) })
			require.True(t, ok, "%s imports %s: room %q may import %v", path, to, room, allowed)
		}
	})
}

func allowedFrom(dir string) (allowed []string, room string) {
	for r, a := range rooms {
		if within(dir, r) && len(r) > len(room) {
			allowed, room = a, r
		}
	}
	return allowed, room
}

func within(dir, room string) bool { return dir == room || strings.HasPrefix(dir, room+"/") }

func repoRoot(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	require.NoError(t, err)
	return filepath.Dir(filepath.Dir(dir))
}

func eachGoFile(t *testing.T, root string, fn func(path string)) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && path != root && (strings.HasPrefix(d.Name(), ".") || d.Name() == "runs") {
			return filepath.SkipDir
		}
		if strings.HasSuffix(path, ".go") {
			rel, _ := filepath.Rel(root, path)
			fn(rel)
		}
		return nil
	}))
}
