package export

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// FS is what exports ask of a file system. Tests inject failures through it.
type FS interface {
	Create(path string) (SyncWriter, error) // fails where the file is there
	MkdirAll(dir string) error
	Rename(old, new string) error
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

// Create makes a new file.
func (OS) Create(path string) (SyncWriter, error) {
	return os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
}

// MkdirAll makes a folder and those above it.
func (OS) MkdirAll(dir string) error { return os.MkdirAll(dir, 0o777) }

// Rename renames; a file of the new name is replaced.
func (OS) Rename(old, new string) error { return os.Rename(old, new) }

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

// Part is one file to write; Write streams its content.
type Part struct {
	Name  string
	Write func(w io.Writer) error
}

// fileBuffer is the size of writes: large enough that system calls do not show.
const fileBuffer = 1 << 20

// temporary is the name that something is written under before it is complete.
func temporary(path string) string {
	return filepath.Join(filepath.Dir(path), fmt.Sprintf(".%s.tmp-%d", filepath.Base(path), os.Getpid()))
}

// WriteFiles writes files beside one another in dir so that a failure (an error of a part, a full disk, a folder
// that cannot be written) leaves nothing behind: each goes to a temporary name and to the disk, and only when all
// are there they take their names, the last part last. Files of those names are replaced.
func WriteFiles(fs FS, dir string, parts []Part) (err error) {
	var temps []string
	defer func() {
		if err != nil {
			for _, t := range temps { // they may hold the bytes that the disk lacks
				err = errors.Join(err, fs.RemoveAll(t))
			}
		}
	}()
	for _, p := range parts {
		path := filepath.Join(dir, p.Name)
		if st, err := os.Stat(path); err == nil && st.IsDir() {
			return fmt.Errorf("export: %s is a folder, expected a file's name", path)
		}
		tmp := temporary(path)
		if err := writeFile(fs, tmp, p.Write, &temps); err != nil {
			return fmt.Errorf("export: writing %s: %w; nothing was left behind", path, hideTemporary(err, tmp, path))
		}
	}
	var done []string
	for i, p := range parts {
		path := filepath.Join(dir, p.Name)
		if err := fs.Rename(temps[i], path); err != nil {
			for _, d := range done {
				err = errors.Join(err, fs.RemoveAll(d))
			}
			return fmt.Errorf("export: %w", err)
		}
		done = append(done, path)
	}
	return fs.SyncDir(dir)
}

// WriteFolder writes parts as a new folder, which appears complete or not at all. A folder that is there already
// must be empty: what is in it might be somebody's.
func WriteFolder(fs FS, dir string, parts []Part) (err error) {
	dir = filepath.Clean(dir)
	if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
		return fmt.Errorf("export: folder %s is not empty: remove it or choose another --out", dir)
	} else if st, statErr := os.Stat(dir); statErr == nil && !st.IsDir() {
		return fmt.Errorf("export: %s is a file, expected the name of a new folder", dir)
	}
	tmp := temporary(dir)
	if err := fs.MkdirAll(tmp); err != nil {
		return fmt.Errorf("export: %w", hideTemporary(err, tmp, dir))
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, fs.RemoveAll(tmp))
		}
	}()
	for _, p := range parts {
		if err := writeFile(fs, filepath.Join(tmp, p.Name), p.Write, nil); err != nil {
			return fmt.Errorf("export: writing %s: %w; nothing was left behind", filepath.Join(dir, p.Name), hideTemporary(err, tmp, dir))
		}
	}
	if err := fs.SyncDir(tmp); err != nil {
		return fmt.Errorf("export: %w", err)
	}
	// An empty folder makes room; Remove does not take one that somebody has put a file in meanwhile.
	if err := os.Remove(dir); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("export: %w", err)
	}
	if err := fs.Rename(tmp, dir); err != nil {
		return fmt.Errorf("export: %w", err)
	}
	return fs.SyncDir(filepath.Dir(dir))
}

// writeFile streams one file and syncs it; its name is noted as soon as it exists.
func writeFile(fs FS, path string, write func(io.Writer) error, made *[]string) error {
	f, err := fs.Create(path)
	if err != nil {
		return err
	}
	if made != nil {
		*made = append(*made, path)
	}
	b := bufio.NewWriterSize(f, fileBuffer)
	err = write(b)
	if err == nil {
		err = b.Flush()
	}
	if err == nil {
		err = f.Sync()
	}
	// A failed close may be the first word of a failed write (NFS, quotas).
	return errors.Join(err, f.Close())
}

// renamed says an error in terms of the name that the user gave.
type renamed struct {
	error
	text string
}

func (r renamed) Error() string { return r.text }
func (r renamed) Unwrap() error { return r.error }

func hideTemporary(err error, tmp, path string) error {
	return renamed{err, strings.ReplaceAll(err.Error(), tmp, path)}
}
