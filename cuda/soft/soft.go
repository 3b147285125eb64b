// Package soft finds the software CUDA device: a library in place of libcuda.so.1 that runs the same kernels on the
// CPU, so that the whole CUDA path is tested where no GPU is. Its sources are in cuda/soft/device; scripts/cuda.sh builds
// it. It must not know of the CUDA backend.
package soft

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// File is the library's name. It lies beside the ringo binary, in bin.
const File = "libringo_softcuda.so"

// NCCLFile is the library in place of libnccl.so.2, beside it: a simulation that sums in host memory (cuda/soft/nccl).
const NCCLFile = "libringo_softnccl.so"

// Library returns the library's path: what RINGO_SOFT_LIBRARY names, else a file beside this binary, else
// bin of the source tree that the working directory is in.
func Library() (string, error) {
	if p := os.Getenv("RINGO_SOFT_LIBRARY"); p != "" {
		return p, nil
	}
	var tried []string
	for _, dir := range folders() {
		p := filepath.Join(dir, File)
		if _, err := os.Stat(p); err == nil {
			return p, nil
		}
		tried = append(tried, dir)
	}
	return "", fmt.Errorf("the software CUDA device %s is not in %s: build it with make soft, or name it in RINGO_SOFT_LIBRARY", File, strings.Join(tried, " or "))
}

func folders() []string {
	var out []string
	if exe, err := os.Executable(); err == nil {
		out = append(out, filepath.Dir(exe))
	}
	dir, err := os.Getwd()
	if err != nil {
		return out
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return append(out, filepath.Join(dir, "bin"))
		}
		up := filepath.Dir(dir)
		if up == dir {
			return out
		}
		dir = up
	}
}
