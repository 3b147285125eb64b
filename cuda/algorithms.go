//go:build cuda

package cuda

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"ringo/cuda/blas"
)

// The fastest algorithm of each product is kept in a file of the user's cache, per GPU model and library version. The
// processes of a host take turns: the first that meets a product times it, the others take what it found, so that all
// compute with the same algorithm and later runs give the same bits.

// findFile names the file and reads it; the software device keeps none.
func (p *products) findFile(d *device) {
	p.fastest = map[string]blas.Algorithm{}
	cache, err := os.UserCacheDir()
	if err != nil || d.soft {
		return
	}
	dir := filepath.Join(cache, "ringo", "cuda")
	if os.MkdirAll(dir, 0o755) == nil {
		name := strings.NewReplacer("/", "-", " ", "-").Replace(d.name)
		p.file = filepath.Join(dir, fmt.Sprintf("gemm-%s-%d.json", name, p.version))
		p.load()
	}
}

// load adds what the file has; one that is missing or damaged only costs time.
func (p *products) load() {
	raw, err := os.ReadFile(p.file)
	var entries map[string]string
	if err != nil || json.Unmarshal(raw, &entries) != nil {
		return
	}
	for key, text := range entries {
		var a blas.Algorithm
		if len(text) != hex.EncodedLen(len(a)) {
			continue
		}
		if _, err := hex.Decode(a[:], []byte(text)); err == nil {
			p.fastest[key] = a
		}
	}
}

// lock keeps other processes from timing meanwhile, and reads what they have found. Where there is no file it does nothing.
func (p *products) lock() (unlock func()) {
	if p.file == "" {
		return func() {}
	}
	f, err := os.OpenFile(p.file+".lock", os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return func() {}
	}
	_ = syscall.Flock(int(f.Fd()), syscall.LOCK_EX) // where locks do not work, each process times for itself
	p.load()
	return func() { _ = f.Close() } // which gives up the lock
}

// save writes the file, whole or not at all. What cannot be saved is timed again next time.
func (p *products) save() {
	if p.file == "" {
		return
	}
	entries := map[string]string{}
	for key, a := range p.fastest {
		entries[key] = hex.EncodeToString(a[:])
	}
	raw, err := json.MarshalIndent(entries, "", " ")
	if err != nil {
		return
	}
	tmp := fmt.Sprintf("%s.%d", p.file, os.Getpid())
	if os.WriteFile(tmp, raw, 0o644) != nil || os.Rename(tmp, p.file) != nil {
		_ = os.Remove(tmp)
	}
}
