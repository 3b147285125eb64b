//go:build cuda

package driver

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"ringo/cuda/soft"
)

// machine lays out files and links below a folder of its own: a path that ends in / is a folder, one with a target a link.
func machine(t *testing.T, paths map[string]string) (root string) {
	t.Helper()
	root = t.TempDir()
	for path, target := range paths {
		at := filepath.Join(root, path)
		require.NoError(t, os.MkdirAll(filepath.Dir(at), 0o755))
		if target != "" {
			require.NoError(t, os.Symlink(target, at))
		} else {
			require.NoError(t, os.WriteFile(at, nil, 0o755))
		}
	}
	return root
}

// elsewhere leaves nothing of this machine to find but what every machine has.
func elsewhere(t *testing.T) {
	t.Helper()
	for _, v := range []string{"VIRTUAL_ENV", "CONDA_PREFIX", "CUDA_HOME", "PATH", "HOME"} {
		t.Setenv(v, "")
	}
}

// PyTorch's machines have CUDA's libraries where only Python looks: in the environment that is active, or in that of the python3 of
// PATH, whose links lead through it.
func TestFolders(t *testing.T) {
	root := machine(t, map[string]string{
		"venv/lib/python3.12/site-packages/nvidia/cu13/lib/libcublasLt.so.13": "",
		"venv/lib/python3.12/site-packages/nvidia/nccl/lib/libnccl.so.2":      "",
		"venv/bin/python3":    "../../base/bin/python3.12",
		"base/bin/python3.12": "",
		"base/lib/python3.12/site-packages/nvidia/cublas/lib/libcublasLt.so.12": "",
		"links/bin/python3":               "../../venv/bin/python3",
		"circle/bin/python3":              "python3",
		"toolkit/lib64/libcublasLt.so.13": "",
		"home/.local/lib/python3.9/site-packages/nvidia/cublas/lib/libcublas.so": "",
	})
	at := func(path string) string { return filepath.Join(root, path) }
	newer, nccl, older := at("venv/lib/python3.12/site-packages/nvidia/cu13/lib"), at("venv/lib/python3.12/site-packages/nvidia/nccl/lib"),
		at("base/lib/python3.12/site-packages/nvidia/cublas/lib")
	for name, c := range map[string]struct {
		env   map[string]string
		first []string
	}{
		"nothing":            {},
		"active environment": {map[string]string{"VIRTUAL_ENV": at("venv")}, []string{newer, nccl}},
		"conda":              {map[string]string{"CONDA_PREFIX": at("base")}, []string{older}},
		"python of PATH":     {map[string]string{"PATH": at("links/bin")}, []string{newer, nccl, older}},
		"a circle":           {map[string]string{"PATH": at("circle/bin")}, nil},
		"toolkit":            {map[string]string{"CUDA_HOME": at("toolkit"), "VIRTUAL_ENV": at("base")}, []string{at("toolkit/lib64"), older}},
		"this user's":        {map[string]string{"HOME": at("home")}, []string{at("home/.local/lib/python3.9/site-packages/nvidia/cublas/lib")}},
	} {
		t.Run(name, func(t *testing.T) {
			elsewhere(t)
			for k, v := range c.env {
				t.Setenv(k, v)
			}
			var here []string // beside what this machine has
			for _, dir := range Folders() {
				if rel, err := filepath.Rel(root, dir); err == nil && filepath.IsLocal(rel) {
					here = append(here, dir)
				}
			}
			require.Equal(t, c.first, here)
		})
	}
	require.Equal(t, []string{"libcublasLt.so.13", filepath.Join(newer, "libcublasLt.so.13"), "libcublasLt.so.12", filepath.Join(older, "libcublasLt.so.12"), "/a/b.so"},
		candidates([]string{"libcublasLt.so.13", "libcublasLt.so.12", "/a/b.so"}, []string{newer, nccl, older}))
}

// A library in a folder of Python's is loaded; one that does not load is named.
func TestOpenLibrary(t *testing.T) {
	library, err := soft.Library()
	require.NoError(t, err)
	root := machine(t, map[string]string{
		"lib/python3.12/site-packages/nvidia/cu13/lib/libringo_a.so.1": filepath.Join(filepath.Dir(library), "libringo_softcublaslt.so"),
		"lib/python3.12/site-packages/nvidia/cu13/lib/" + soft.File:    library, // which it needs
		"lib/python3.12/site-packages/nvidia/cu13/lib/libringo_b.so.1": "",
	})
	elsewhere(t)
	t.Setenv("VIRTUAL_ENV", root)
	l, err := OpenLibrary("libringo_none.so", "libringo_a.so.1")
	require.NoError(t, err)
	require.Equal(t, filepath.Join(root, "lib/python3.12/site-packages/nvidia/cu13/lib/libringo_a.so.1"), l.Path)
	v, ok := l.Version("cublasLtGetVersion")
	require.True(t, ok)
	require.Equal(t, 120603, v)
	_, ok = l.Version("cublasLtGetNothing")
	require.False(t, ok)
	_, err = OpenLibrary("libringo_none.so", "libringo_b.so.1")
	require.ErrorContains(t, err, "cu13/lib/libringo_b.so.1: file too short")
	_, err = OpenLibrary("libringo_none.so")
	require.EqualError(t, err, "libringo_none.so: cannot open shared object file: No such file or directory")
}
