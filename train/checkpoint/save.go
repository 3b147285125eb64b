package checkpoint

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"ringo/internal/files"
)

// Store saves checkpoints into one folder. The zero Keep keeps all; a nil FS is the operating system's.
// It is not safe for concurrent use, and no two processes may save into one folder.
type Store struct {
	Dir  string // runs/NAME/checkpoints
	Keep int
	FS   files.FS
}

// Save writes the parts as checkpoint step-N. Whatever happens on the way (an error, a full disk, power
// lost, kill -9) leaves what was complete before complete, and latest on a complete checkpoint:
//
//	parts and manifest go to a folder of a temporary name, each synced to the disk
//	the folder is synced, and renamed to step-N in one step
//	the folder above is synced; only then is the link moved, by a rename
//	checkpoints beyond Keep go last, but never the one that Best named
func (s *Store) Save(step int, parts []files.Part) (*Checkpoint, error) {
	fs := s.fs()
	if err := fs.MkdirAll(s.Dir); err != nil {
		return nil, fmt.Errorf("saving checkpoint %d: %w", step, err)
	}
	s.sweep(fs)
	tmp := filepath.Join(s.Dir, tempPrefix+stepPrefix+strconv.Itoa(step))
	c, err := s.save(fs, tmp, step, parts)
	if err != nil {
		// The temporary folder may hold the bytes that the disk lacks.
		return nil, errors.Join(fmt.Errorf("saving checkpoint %d: %w; the one before it is intact", step, err), fs.RemoveAll(tmp))
	}
	s.prune(fs, step)
	return c, nil
}

func (s *Store) save(fs files.FS, tmp string, step int, parts []files.Part) (*Checkpoint, error) {
	if err := fs.MkdirAll(tmp); err != nil {
		return nil, err
	}
	m := Manifest{Format: format, Step: step, Files: map[string]File{}}
	for _, p := range parts {
		f, err := writeFile(fs, filepath.Join(tmp, p.Name), p.Write)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p.Name, err)
		}
		m.Files[p.Name] = f
	}
	_, err := writeFile(fs, filepath.Join(tmp, ManifestName), func(w io.Writer) error {
		raw, err := json.MarshalIndent(m, "", "  ")
		if err == nil {
			_, err = w.Write(append(raw, '\n'))
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", ManifestName, err)
	}
	dir := filepath.Join(s.Dir, stepPrefix+strconv.Itoa(step))
	for _, do := range []func() error{
		func() error { return fs.SyncDir(tmp) },
		func() error { return fs.Replace(tmp, dir) },
		func() error { return fs.SyncDir(s.Dir) },
		func() error { return s.link(fs, LatestName, step) },
	} {
		if err := do(); err != nil {
			return nil, err
		}
	}
	return &Checkpoint{Dir: dir, Manifest: m}, nil
}

// Best names the saved checkpoint step-N the best so far: a link leads to it, and it stays beyond Keep until another one is best.
func (s *Store) Best(step int) error {
	if err := s.link(s.fs(), BestName, step); err != nil {
		return fmt.Errorf("marking checkpoint %d as the best: %w", step, err)
	}
	return nil
}

// link points a link at step-N, at once: whoever reads it finds the old checkpoint or the new one.
func (s *Store) link(fs files.FS, name string, step int) error {
	tmp := filepath.Join(s.Dir, tempPrefix+name)
	for _, do := range []func() error{
		func() error { return fs.RemoveAll(tmp) },
		func() error { return fs.Symlink(stepPrefix+strconv.Itoa(step), tmp) },
		func() error { return fs.Replace(tmp, filepath.Join(s.Dir, name)) },
		func() error { return fs.SyncDir(s.Dir) },
	} {
		if err := do(); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) fs() files.FS {
	if s.FS == nil {
		return files.OS{}
	}
	return s.FS
}

// writeFile makes a file and returns its size and hash.
func writeFile(fs files.FS, path string, write func(io.Writer) error) (File, error) {
	h, n := sha256.New(), int64(0)
	err := files.Stream(fs, path, func(w io.Writer) error {
		c := &files.Counter{W: io.MultiWriter(w, h)}
		err := write(c)
		n = c.N
		return err
	})
	return File{SHA256: hex.EncodeToString(h.Sum(nil)), Bytes: n}, err
}

// sweep removes what earlier, killed saves left behind. What cannot be removed does no harm.
func (s *Store) sweep(fs files.FS) {
	entries, _ := os.ReadDir(s.Dir)
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), tempPrefix) {
			_ = fs.RemoveAll(filepath.Join(s.Dir, e.Name()))
		}
	}
}

// prune removes the oldest checkpoints beyond Keep. Those of later steps, left by a run that was taken up
// again from an earlier one, neither count nor go: the run replaces them when it gets there. Nor does the best.
func (s *Store) prune(fs files.FS, saved int) {
	if s.Keep <= 0 {
		return
	}
	left := s.Keep - 1
	to, _ := os.Readlink(filepath.Join(s.Dir, BestName)) // no link: none is the best
	best, _ := stepOf(to)
	for _, n := range steps(s.Dir) {
		if n >= saved || n == best && to != "" {
			continue
		}
		if left > 0 {
			left--
			continue
		}
		// First out of sight under a temporary name, so that no half-removed folder is ever called step-N.
		name := stepPrefix + strconv.Itoa(n)
		gone := filepath.Join(s.Dir, tempPrefix+name)
		if fs.Replace(filepath.Join(s.Dir, name), gone) == nil {
			_ = fs.RemoveAll(gone)
		}
	}
}
