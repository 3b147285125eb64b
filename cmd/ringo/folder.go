package main

import (
	"fmt"
	"os"
	"path/filepath"
)

// writable answers a run's folder that this user may not write, before anything is set up. It asks the folder, or what is there of the
// path to it, by a probe: modes do not tell of read-only or remote file systems.
func writable(out string) error {
	out, err := filepath.Abs(out)
	if err != nil {
		return err
	}
	at := out
	for at != filepath.Dir(at) {
		if _, err := os.Stat(at); err == nil {
			break
		}
		at = filepath.Dir(at)
	}
	if err := probe(at); err != nil {
		return usage{fmt.Errorf("the run's folder %s: user %d cannot write in %s: %w; name another with --out, or let this user write there (in a container: docker run --user with the owner's number)",
			out, os.Getuid(), at, err)}
	}
	return nil
}

// probe makes a folder in another and removes it.
func probe(dir string) error {
	made, err := os.MkdirTemp(dir, ".ringo-*")
	if err != nil {
		return err
	}
	return os.Remove(made)
}
