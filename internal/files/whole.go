package files

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
)

// Part is one file to write; Write streams its content.
type Part struct {
	Name  string
	Write func(w io.Writer) error
}

// temporary is a name that something is written under before it is complete.
func temporary(path string) string {
	return filepath.Join(filepath.Dir(path), fmt.Sprintf(".%s.tmp-%08x", filepath.Base(path), rand.Uint32()))
}

// Write writes files beside one another in dir so that a failure (an error of a part, a full disk, a folder
// that cannot be written) leaves nothing behind: each goes to a temporary name and to the disk, and only when all
// are there they take their names, the last part last. Files of those names are replaced.
func Write(fs FS, dir string, parts ...Part) (err error) {
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
			return fmt.Errorf("%s is a folder, expected a file's name", path)
		}
		tmp := temporary(path)
		f, err := fs.Create(tmp)
		if err == nil {
			temps = append(temps, tmp)
			err = fill(f, p.Write)
		}
		if err != nil {
			return fmt.Errorf("writing %s: %w; nothing was left behind", path, hideTemporary(err, tmp, path))
		}
	}
	var done []string
	for i, p := range parts {
		path := filepath.Join(dir, p.Name)
		if err := fs.Rename(temps[i], path); err != nil {
			for _, d := range done {
				err = errors.Join(err, fs.RemoveAll(d))
			}
			return fmt.Errorf("writing %s: %w", path, err)
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
		return fmt.Errorf("folder %s is not empty: remove it or choose another one", dir)
	} else if st, statErr := os.Stat(dir); statErr == nil && !st.IsDir() {
		return fmt.Errorf("%s is a file, expected the name of a new folder", dir)
	}
	tmp := temporary(dir)
	if err := fs.MkdirAll(tmp); err != nil {
		return fmt.Errorf("writing %s: %w", dir, hideTemporary(err, tmp, dir))
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, fs.RemoveAll(tmp))
		}
	}()
	for _, p := range parts {
		if err := Stream(fs, filepath.Join(tmp, p.Name), p.Write); err != nil {
			return fmt.Errorf("writing %s: %w; nothing was left behind", filepath.Join(dir, p.Name), hideTemporary(err, tmp, dir))
		}
	}
	if err := fs.SyncDir(tmp); err != nil {
		return fmt.Errorf("writing %s: %w", dir, err)
	}
	// An empty folder makes room; Remove does not take one that somebody has put a file in meanwhile.
	if err := os.Remove(dir); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("writing %s: %w", dir, err)
	}
	if err := fs.Rename(tmp, dir); err != nil {
		return fmt.Errorf("writing %s: %w", dir, err)
	}
	return fs.SyncDir(filepath.Dir(dir))
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
