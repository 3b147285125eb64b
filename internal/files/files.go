// Package files owns how a file reaches the disk whole or not at all: streamed under another name, brought to the disk,
// then renamed. It must not know what files hold.
package files

import (
	"bufio"
	"errors"
	"io"
	"os"
)

// FS is what writing asks of a file system. Tests inject failures through it.
type FS interface {
	Create(path string) (File, error) // fails where the file is there
	MkdirAll(dir string) error
	// Rename gives a file, link or folder another name; a file or link that has it goes.
	Rename(old, new string) error
	// Replace is Rename where a folder that has the name goes too.
	Replace(old, new string) error
	Symlink(target, link string) error
	RemoveAll(path string) error // no error where nothing is there
	SyncDir(dir string) error    // makes names created, renamed or removed in dir durable
}

// File is an open file.
type File interface {
	io.WriteCloser
	Sync() error
}

// OS is the operating system's file system.
type OS struct{}

var _ FS = OS{}

// Create makes a new file.
func (OS) Create(path string) (File, error) {
	return os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
}

// MkdirAll makes a folder and those above it.
func (OS) MkdirAll(dir string) error { return os.MkdirAll(dir, 0o777) }

// Rename renames; a file of the new name is replaced.
func (OS) Rename(old, new string) error { return os.Rename(old, new) }

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

// buffer is the size of writes: large enough that system calls do not show.
const buffer = 1 << 20

// Stream makes a file of what write writes and brings it to the disk. A file that could not be finished stays: its folder or
// its temporary name goes with it.
func Stream(fs FS, path string, write func(io.Writer) error) error {
	f, err := fs.Create(path)
	if err != nil {
		return err
	}
	return fill(f, write)
}

// fill streams into a new file and closes it.
func fill(f File, write func(io.Writer) error) error {
	b := bufio.NewWriterSize(f, buffer)
	err := write(b)
	if err == nil {
		err = b.Flush()
	}
	if err == nil {
		err = f.Sync()
	}
	// A failed close may be the first word of a failed write (NFS, quotas).
	return errors.Join(err, f.Close())
}

// Counter passes bytes on and counts them.
type Counter struct {
	W io.Writer
	N int64
}

// Write passes p on.
func (c *Counter) Write(p []byte) (int, error) {
	n, err := c.W.Write(p)
	c.N += int64(n)
	return n, err
}
