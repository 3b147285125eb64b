//go:build unix

package checkpoint

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
)

// Exclusive runs do while no other process does so in the same folder. The lock ends with the process that holds it.
func (s *Store) Exclusive(do func() error) (err error) {
	if err := os.MkdirAll(s.Dir, 0o777); err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(s.Dir, lockName), os.O_CREATE|os.O_RDWR, 0o666)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		return &os.PathError{Op: "lock", Path: f.Name(), Err: err}
	}
	return do()
}
