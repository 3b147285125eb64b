package lint

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestPackages fails on a package without a comment that says what it is, or without a runnable Example.
func TestPackages(t *testing.T) {
	t.Parallel()
	root := repoRoot(t)
	documented, example := map[string]bool{}, map[string]bool{}
	eachGoFile(t, root, func(path string) {
		f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, path), nil, parser.ParseComments|parser.SkipObjectResolution)
		require.NoError(t, err)
		if generator(f) {
			return
		}
		dir := filepath.Dir(path)
		if !strings.HasSuffix(path, "_test.go") {
			documented[dir] = documented[dir] || strings.HasPrefix(f.Doc.Text(), "Package "+f.Name.Name+" ") ||
				strings.HasPrefix(f.Doc.Text(), "Command "+filepath.Base(dir)+" ")
			return
		}
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && strings.HasPrefix(fn.Name.Name, "Example") {
				example[dir] = true
			}
		}
	})
	for dir, ok := range documented {
		require.True(t, ok, "%s: no package comment; write one that begins with Package NAME and says what it owns and must not know", dir)
		require.True(t, example[dir], "%s: no Example function in its tests; write one that shows its use", dir)
	}
}

// generator reports whether a file is part of a program for `go generate` only.
func generator(f *ast.File) bool {
	for _, c := range f.Comments {
		for _, line := range c.List {
			if c.Pos() < f.Package && line.Text == "//go:build generate" {
				return true
			}
		}
	}
	return false
}
