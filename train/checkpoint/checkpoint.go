// Package checkpoint owns how a run's state reaches the disk and comes back: a folder per step that is
// either complete or not there, hashes over every file, and one link to the newest. It knows files and
// hashes only; what they hold is the training loop's business.
package checkpoint

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"
)

// The names inside a run's checkpoints folder and inside one checkpoint.
const (
	ManifestName = "MANIFEST.json"
	LatestName   = "latest"
	BestName     = "best"
	stepPrefix   = "step-"
	tempPrefix   = ".tmp-"
	lockName     = ".lock"
)

// format is the manifest's version; another one is refused.
const format = 1

// copyBuffer is the size of reads: large enough that system calls do not show.
const copyBuffer = 1 << 20

// Manifest lists a checkpoint's files.
type Manifest struct {
	Format int             `json:"format"`
	Step   int             `json:"step"`
	Files  map[string]File `json:"files"`
}

// File is what a manifest says of one file.
type File struct {
	SHA256 string `json:"sha256"`
	Bytes  int64  `json:"bytes"`
}

// Checkpoint is a complete, verified checkpoint.
type Checkpoint struct {
	Dir string
	Manifest
}

// Path returns where one of its files lies.
func (c *Checkpoint) Path(name string) string { return filepath.Join(c.Dir, name) }

// Damaged says that a checkpoint is not what was saved. Older is the newest complete checkpoint beside
// it, empty where there is none.
type Damaged struct {
	Dir, Reason, Older string
}

func (e *Damaged) Error() string {
	msg := fmt.Sprintf("checkpoint %s is damaged: %s", e.Dir, e.Reason)
	if e.Older == "" {
		return msg + "; there is no older complete checkpoint beside it"
	}
	return msg + "; the older checkpoint is complete, use it with --checkpoint " + e.Older
}

// Open finds and verifies a checkpoint: path is a checkpoint, a checkpoints folder or a run's folder; of
// the latter two, the newest counts. A checkpoint that does not match its hashes is refused with *Damaged;
// a path that holds none gives an error that wraps fs.ErrNotExist. Where files are named only these are hashed: who does
// not read the others is not kept waiting for them. They must be there at their full length all the same.
func Open(path string, files ...string) (*Checkpoint, error) {
	dir, err := resolve(path)
	if err != nil {
		return nil, err
	}
	c, reason := verify(dir, files)
	if reason == "" {
		return c, nil
	}
	return nil, &Damaged{Dir: dir, Reason: reason, Older: newestBefore(dir)}
}

// resolve follows a run's folder or a link down to the checkpoint's own folder.
func resolve(path string) (string, error) {
	for _, p := range []string{filepath.Join(path, "checkpoints"), path} {
		link := filepath.Join(p, LatestName)
		if _, err := os.Lstat(link); err == nil {
			to, err := os.Readlink(link)
			if err != nil {
				return "", fmt.Errorf("checkpoint: %w", err)
			}
			return filepath.Join(p, to), nil
		}
	}
	st, err := os.Stat(path)
	if err != nil {
		var why *fs.PathError
		if errors.As(err, &why) {
			err = why.Err // the path is named already
		}
		return "", fmt.Errorf("checkpoint %s: %w, expected a run's folder or one of its checkpoints", path, err)
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	_, isStep := stepOf(filepath.Base(path))
	if _, err := os.Stat(filepath.Join(path, ManifestName)); !st.IsDir() || (err != nil && !isStep) {
		return "", fmt.Errorf("checkpoint %s: neither %s nor a link %s in it (%w), expected a run's folder or one of its checkpoints", path, ManifestName, LatestName, os.ErrNotExist)
	}
	return path, nil
}

// verify checks a folder against its manifest and returns why it cannot be used, "" where it can.
func verify(dir string, files []string) (*Checkpoint, string) {
	raw, err := readSmall(filepath.Join(dir, ManifestName))
	if err != nil {
		return nil, err.Error()
	}
	c := &Checkpoint{Dir: dir}
	if err := json.Unmarshal(raw, &c.Manifest); err != nil {
		return nil, fmt.Sprintf("%s: %v", ManifestName, err)
	}
	if c.Format != format {
		return nil, fmt.Sprintf("%s: format %d, this program reads %d", ManifestName, c.Format, format)
	}
	if step, ok := stepOf(filepath.Base(dir)); ok && step != c.Step {
		return nil, fmt.Sprintf("%s: step %d in a folder named %s", ManifestName, c.Step, filepath.Base(dir))
	}
	names := make([]string, 0, len(c.Files))
	for name := range c.Files {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		if reason := verifyFile(dir, name, c.Files[name], len(files) == 0 || slices.Contains(files, name)); reason != "" {
			return nil, reason
		}
	}
	return c, ""
}

func verifyFile(dir, name string, want File, hash bool) string {
	if name != filepath.Base(name) || strings.HasPrefix(name, ".") {
		return fmt.Sprintf("%s names a file %q outside the folder", ManifestName, name)
	}
	f, err := os.Open(filepath.Join(dir, name))
	if err != nil {
		return err.Error()
	}
	defer f.Close() // only read: nothing can be lost
	st, err := f.Stat()
	switch {
	case err != nil:
		return err.Error()
	case st.Size() != want.Bytes:
		return fmt.Sprintf("%s has %d bytes, expected %d", name, st.Size(), want.Bytes)
	case !hash:
		return ""
	}
	h := sha256.New()
	switch _, err := io.CopyBuffer(h, io.LimitReader(f, want.Bytes), make([]byte, copyBuffer)); {
	case err != nil:
		return err.Error()
	case hex.EncodeToString(h.Sum(nil)) != want.SHA256:
		return fmt.Sprintf("%s does not match its sha256: its content was changed", name)
	}
	return ""
}

// maxManifest bounds what is read of a manifest; a real one has well under a kilobyte.
const maxManifest = 1 << 20

func readSmall(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	raw, err := io.ReadAll(io.LimitReader(f, maxManifest))
	return raw, errors.Join(err, f.Close())
}

// stepOf parses a folder name step-N.
func stepOf(name string) (int, bool) {
	digits, ok := strings.CutPrefix(name, stepPrefix)
	n, err := strconv.Atoi(digits)
	return n, ok && err == nil && n >= 0
}

// steps lists the step folders below dir, newest first.
func steps(dir string) []int {
	entries, _ := os.ReadDir(dir) // an unreadable folder has no checkpoints to offer
	var out []int
	for _, e := range entries {
		if n, ok := stepOf(e.Name()); ok && e.IsDir() {
			out = append(out, n)
		}
	}
	sort.Sort(sort.Reverse(sort.IntSlice(out)))
	return out
}

// newestBefore returns the newest checkpoint beside dir that is of an earlier step and verifies.
func newestBefore(dir string) string {
	step, ok := stepOf(filepath.Base(dir))
	if !ok {
		return ""
	}
	for _, n := range steps(filepath.Dir(dir)) {
		older := filepath.Join(filepath.Dir(dir), stepPrefix+strconv.Itoa(n))
		if n >= step {
			continue
		}
		if _, reason := verify(older, nil); reason == "" {
			return older
		}
	}
	return ""
}
