//go:build cuda

package cuda

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// kept is what was found out about a GPU by trying, by key, in a file of the user's cache per GPU model and version of what was
// tried: the fastest algorithm of each product, the version of each call. The processes of a host take turns: the first
// that meets a key tries, the others take what it found, so that all compute in the same way and later runs give the same bits.
type kept struct {
	file    string // empty: kept in this process alone
	entries map[string]string
}

// newKept names the file of a kind and reads it; the software device keeps none.
func newKept(d *device, kind, version string) kept {
	k := kept{entries: map[string]string{}}
	cache, err := os.UserCacheDir()
	if err != nil || d.soft {
		return k
	}
	dir := filepath.Join(cache, "ringo", "cuda")
	if os.MkdirAll(dir, 0o755) == nil {
		name := strings.NewReplacer("/", "-", " ", "-").Replace(d.name)
		k.file = filepath.Join(dir, fmt.Sprintf("%s-%s-%s.json", kind, name, version))
		k.load()
	}
	return k
}

// load adds what the file has; one that is missing or damaged only costs time.
func (k *kept) load() {
	raw, err := os.ReadFile(k.file)
	var entries map[string]string
	if err == nil && json.Unmarshal(raw, &entries) == nil {
		maps.Copy(k.entries, entries)
	}
}

// lock keeps other processes from trying meanwhile, and reads what they have found. Where there is no file it does nothing.
func (k *kept) lock() (unlock func()) {
	if k.file == "" {
		return func() {}
	}
	f, err := os.OpenFile(k.file+".lock", os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return func() {}
	}
	_ = syscall.Flock(int(f.Fd()), syscall.LOCK_EX) // where locks do not work, each process tries for itself
	k.load()
	return func() { _ = f.Close() } // which gives up the lock
}

// save writes the file, whole or not at all. What cannot be saved is tried again next time.
func (k *kept) save() {
	if k.file == "" {
		return
	}
	raw, err := json.MarshalIndent(k.entries, "", " ")
	if err != nil {
		return
	}
	tmp := fmt.Sprintf("%s.%d", k.file, os.Getpid())
	if os.WriteFile(tmp, raw, 0o644) != nil || os.Rename(tmp, k.file) != nil {
		_ = os.Remove(tmp)
	}
}
