//go:build cuda

package driver

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// Folders lists where CUDA's libraries are that the loader does not know of, first what is looked in first: the toolkit of
// CUDA_HOME or /usr/local/cuda; the folder at which containers find the driver; NVIDIA's packages of Python, as PyTorch brings
// them, in the environment that is active (VIRTUAL_ENV, CONDA_PREFIX), of the python3 that PATH finds, of this user, of the system.
func Folders() []string {
	var out []string
	seen := map[string]bool{} // lib64 is often a link to lib
	add := func(pattern string) {
		found, _ := filepath.Glob(pattern) // its only error is a malformed pattern
		for _, dir := range found {
			if real, err := filepath.EvalSymlinks(dir); err == nil && !seen[real] {
				out, seen[real] = append(out, dir), true
			}
		}
	}
	for _, toolkit := range []string{os.Getenv("CUDA_HOME"), "/usr/local/cuda"} {
		if toolkit != "" {
			add(filepath.Join(toolkit, "lib64"))
		}
	}
	add("/usr/local/nvidia/lib64")
	for _, prefix := range pythons() {
		for _, packages := range []string{"site-packages", "dist-packages"} {
			add(filepath.Join(prefix, "lib*", "python3*", packages, "nvidia", "*", "lib"))
		}
	}
	return out
}

// pythons lists the folders that hold lib/python3.N. Links to python3 are followed one by one: an environment's python3 is a link to
// another, and its packages lie beside the link.
func pythons() []string {
	out := []string{os.Getenv("VIRTUAL_ENV"), os.Getenv("CONDA_PREFIX")}
	const links = 16                    // more are a circle
	at, err := exec.LookPath("python3") // of the folder that one happens to be in, it is an error
	for range links {
		if err != nil {
			break
		}
		out = append(out, filepath.Dir(filepath.Dir(at)))
		var to string
		if to, err = os.Readlink(at); !filepath.IsAbs(to) {
			to = filepath.Join(filepath.Dir(at), to)
		}
		at = to
	}
	if home, err := os.UserHomeDir(); err == nil {
		out = append(out, filepath.Join(home, ".local"))
	}
	out = append(out, "/usr/local", "/usr")
	return slices.DeleteFunc(out, func(prefix string) bool { return prefix == "" })
}

// candidates lists what to try for names: each as it is, then the files of bare ones in folders.
func candidates(names, folders []string) (out []string) {
	for _, n := range names {
		out = append(out, n)
		if strings.Contains(n, "/") {
			continue
		}
		for _, dir := range folders {
			if path := filepath.Join(dir, n); exists(path) {
				out = append(out, path)
			}
		}
	}
	return out
}
