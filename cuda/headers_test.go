//go:build cuda

package cuda_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"ringo/cuda/driver"
)

// What the bindings believe of NVIDIA's interfaces, held against every version of its headers that is found here: those that this
// build uses, those that scripts/cuda.sh fetched, a toolkit's, and those beside the libraries of Python's packages.

// headers lists the folders that hold a header; without one the test is skipped.
func headers(t *testing.T, name string) (found []string) {
	t.Helper()
	cache := os.Getenv("RINGO_CUDA_CACHE")
	if user, err := os.UserCacheDir(); cache == "" && err == nil {
		cache = filepath.Join(user, "ringo", "cuda")
	}
	folders := built()
	fetched, err := filepath.Glob(filepath.Join(cache, "*", "nvidia", "*", "include"))
	require.NoError(t, err)
	folders = append(folders, fetched...)
	for _, lib := range driver.Folders() {
		folders = append(folders, filepath.Join(filepath.Dir(lib), "include"))
	}
	seen := map[string]bool{}
	for _, dir := range folders {
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil && !seen[dir] {
			found, seen[dir] = append(found, dir), true
		}
	}
	if found == nil {
		t.Skipf("no %s here: neither a toolkit nor the packages that bring it", name)
	}
	return found
}

// built lists the folders of headers that this build uses.
func built() (folders []string) {
	for _, flag := range strings.Fields(os.Getenv("CGO_CFLAGS")) {
		if dir, ok := strings.CutPrefix(flag, "-I"); ok {
			folders = append(folders, dir)
		}
	}
	return folders
}

// compiler runs the C compiler with the headers of a folder before those of the packages beside it and of this build.
func compiler(t *testing.T, dir string, args ...string) string {
	t.Helper()
	out, err := compile(t, dir, args...)
	if failed, ok := err.(*exec.ExitError); ok {
		require.NoError(t, err, string(failed.Stderr))
	}
	require.NoError(t, err)
	return out
}

func compile(t *testing.T, dir string, args ...string) (string, error) {
	t.Helper()
	cc := os.Getenv("CC")
	if cc == "" {
		cc = "cc"
	}
	beside, err := filepath.Glob(filepath.Join(filepath.Dir(filepath.Dir(dir)), "*", "include"))
	require.NoError(t, err)
	for _, i := range append(append([]string{dir}, beside...), built()...) {
		args = append(args, "-I"+i)
	}
	out, err := exec.Command(cc, args...).Output()
	return string(out), err
}

// alone reports whether a header compiles by itself: packages may come without the headers that theirs include.
func alone(t *testing.T, dir, check string) bool {
	t.Helper()
	_, err := compile(t, dir, "-fsyntax-only", "-DALONE", check)
	if err != nil {
		t.Logf("not compared with %s: headers that it includes are not here", dir)
	}
	return err == nil
}

var (
	space     = regexp.MustCompile(`\s+`)
	prototype = regexp.MustCompile(`CUresult (cu\w+)\(([^;]*?)\) ?;`)
)

// A driver of CUDA 13 takes what a binary built with CUDA 12 passes: every function has the name and the parameters there that it
// has here. cuda.h declares the older versions of functions too where it is asked to.
func TestDriverHeaders(t *testing.T) {
	t.Parallel()
	names := driverNames(t)
	var first map[string]string
	for _, dir := range headers(t, "cuda.h") {
		compiler(t, dir, "-fsyntax-only", "-Wall", "driver/testdata/check.c")
		file := filepath.Join(t.TempDir(), "all.c")
		require.NoError(t, os.WriteFile(file, []byte("#define __CUDA_API_VERSION_INTERNAL\n#include <cuda.h>\n"), 0o600))
		text := space.ReplaceAllString(compiler(t, dir, "-E", "-P", file), " ")
		found := map[string]string{}
		for _, m := range prototype.FindAllStringSubmatch(text, -1) {
			found[m[1]] = strings.ReplaceAll(m[2], " *", "*")
		}
		if first == nil {
			first = found
		}
		for _, n := range names {
			require.NotEmpty(t, found[n], "%s has no %s", dir, n)
			require.Equal(t, first[n], found[n], "%s in %s", n, dir)
		}
		t.Logf("%d functions agree with %s", len(names), dir)
	}
}

var strict = []string{"-Wall", "-Wno-unused-function", "-Werror=cast-function-type"}

// Where the library lies beside its header, it says of each attribute how many bytes it takes.
func TestBlasHeaders(t *testing.T) {
	t.Parallel()
	for _, dir := range headers(t, "cublasLt.h") {
		if !alone(t, dir, "blas/testdata/check.c") {
			continue
		}
		program := filepath.Join(t.TempDir(), "check")
		compiler(t, dir, append(strict, "blas/testdata/check.c", "-o", program, "-ldl")...)
		libraries, err := filepath.Glob(filepath.Join(filepath.Dir(dir), "lib*", "libcublasLt.so*"))
		require.NoError(t, err)
		for _, l := range libraries {
			out, err := exec.Command(program, l).CombinedOutput()
			require.NoError(t, err, "%s: %s", l, out)
		}
		t.Logf("agrees with %s and %v", dir, libraries)
	}
}

func TestNCCLHeaders(t *testing.T) {
	t.Parallel()
	for _, dir := range headers(t, "nccl.h") {
		if !alone(t, dir, "nccl/testdata/check.c") {
			continue
		}
		compiler(t, dir, append(strict, "-fsyntax-only", "nccl/testdata/check.c")...)
		t.Logf("agrees with %s", dir)
	}
}
