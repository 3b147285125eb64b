// Package ort owns how tests reach ONNX Runtime: finding the shared library that scripts/onnxruntime.sh
// installs, loading a model, running it on ringo's tensors. Only tests use it; it must not know what the models mean.
package ort

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// The environment variables that tests read.
const (
	// LibraryVar names the library's file; else it is looked up in the user's cache, where the script puts it.
	LibraryVar = "RINGO_ONNXRUNTIME"
	// Require, where set, makes tests fail rather than skip where the library is missing.
	Require = "RINGO_REQUIRE_ONNXRUNTIME"
)

// Options of a session. The zero value runs on one thread with all graph optimizations.
type Options struct {
	Threads int
	Plain   bool // no graph optimizations: every node as the file has it
	// Optimized, where set, is a path for the model as ONNX Runtime has rewritten it, which shows what it fused.
	Optimized string
}

// Library returns the path of ONNX Runtime's shared library, or an error that says how to install it.
func Library() (string, error) {
	if path := os.Getenv(LibraryVar); path != "" {
		return path, nil
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	path := filepath.Join(cache, "ringo", "onnxruntime", "libonnxruntime.so")
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("ONNX Runtime is not installed (%w): run scripts/onnxruntime.sh, or set %s to the path of libonnxruntime.so", err, LibraryVar)
	}
	return path, nil
}

func need(t testing.TB, err error) {
	t.Helper()
	switch {
	case err == nil:
	case os.Getenv(Require) != "":
		t.Fatalf("%v (%s is set)", err, Require)
	default:
		t.Skip(err)
	}
}
