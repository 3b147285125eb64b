package main

import (
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestHealth(t *testing.T) {
	t.Parallel()
	require.NoError(t, health(t.TempDir()))
	err := health(filepath.Join(t.TempDir(), "gone"))
	require.ErrorContains(t, err, "no such file")
	require.Equal(t, exitFailed, report(io.Discard, err), "Docker keeps status 2 for itself")
}

func TestWritable(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, writable(filepath.Join(dir, "runs", "a")))
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, entries, "the question leaves nothing")

	// Root may write in folders of any mode: what is no folder refuses everyone.
	file := filepath.Join(dir, "file")
	require.NoError(t, os.WriteFile(file, nil, 0o444))
	var u usage
	err = writable(filepath.Join(file, "runs", "a"))
	require.ErrorAs(t, err, &u)
	require.ErrorContains(t, err, "the run's folder "+file)
	require.ErrorContains(t, err, "--out")
}
