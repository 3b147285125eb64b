package checkpoint

import (
	"errors"
	"io"
	"os"
)

// FS is what Save asks of a file system. Tests inject failures through it.
type FS interface {
	MkdirAll(dir string) error
	Create(path string) (SyncWriter, error)
	// Replace renames a file, link or folder, taking the place of what has the new name, if anything.
	Replace(old, new string) error
	Symlink(target, link string) error
	RemoveAll(path string) error // no error where nothing is there
	SyncDir(dir string) error    // makes names created, renamed or removed in dir durable
}

// SyncWriter is an open file.
type SyncWriter interface {
	io.WriteCloser
	Sync() error
}

// OS is the operating system's file system.
type OS struct{}

var _ FS = OS{}

// MkdirAll makes a folder and those above it.
func (OS) MkdirAll(dir string) error { return os.MkdirAll(dir, 0o777) }

// Create makes or empties a file.
func (OS) Create(path string) (SyncWriter, error) { return os.Create(path) }

// Symlink makes a symbolic link.
func (OS) Symlink(target, link string) error { return os.Symlink(target, link) }

// RemoveAll removes a file or a folder with all it holds.
func (OS) RemoveAll(path string) error { return os.RemoveAll(path) }

// SyncDir makes a folder's entries durable.
func (OS) SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Replace renames; where a folder is in the way it swaps the two, in one step where the system can.
func (OS) Replace(old, new string) error {
	err := os.Rename(old, new)
	if err == nil {
		return nil
	}
	if st, statErr := os.Lstat(new); statErr != nil || !st.IsDir() {
		return err
	}
	if err := exchange(old, new); err != nil {
		return err
	}
	return os.RemoveAll(old) // now what was in the way
}
