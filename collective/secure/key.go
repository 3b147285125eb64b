// Package secure owns a job's key and what is derived from it: the secret that connections prove, and TLS 1.3
// configurations with mutual authentication. It must not know what is said over connections.
//
// Everything follows from 32 random bytes, the job's key. Whoever has it is a member; nobody else can read, join or
// forge. There is no other state: no certificate files to copy, nothing to renew.
package secure

import (
	"bytes"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// KeySize is the length of a job's key in bytes.
const KeySize = 32

// EnvKey names the environment variable that may hold the key, as 64 hexadecimal digits.
const EnvKey = "RINGO_JOB_KEY"

// Key is a job's key. It prints as "(key)", so that no log has it.
type Key []byte

func (Key) String() string   { return "(key)" }
func (Key) GoString() string { return "(key)" }

// Generate returns a new key.
func Generate() Key {
	k := make(Key, KeySize)
	rand.Read(k) // never fails, says its documentation
	return k
}

// Parse reads 64 hexadecimal digits; white space around them is ignored.
func Parse(text []byte) (Key, error) {
	text = bytes.TrimSpace(text)
	k := make(Key, hex.DecodedLen(len(text)))
	if _, err := hex.Decode(k, text); err != nil || len(k) != KeySize {
		return nil, fmt.Errorf("%d characters, expected %d hexadecimal digits", len(text), 2*KeySize)
	}
	return k, nil
}

// Load reads the key in a file, which must be readable by its owner only.
func Load(path string) (Key, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("job key: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("job key: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("job key %s: not a regular file", path)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return nil, fmt.Errorf("job key %s: mode %04o lets others read it, expected 0600: chmod 600 %s", path, mode, path)
	}
	text, err := io.ReadAll(io.LimitReader(f, 1024))
	if err != nil {
		return nil, fmt.Errorf("job key %s: %w", path, err)
	}
	k, err := Parse(text)
	if err != nil {
		return nil, fmt.Errorf("job key %s: %w", path, err)
	}
	return k, nil
}

// LoadOrCreate reads the key in a file; where there is no file, it writes a new key there, with mode 0600. Of several processes that
// do so at once one wins, and all return its key. created reports whether it was this one.
func LoadOrCreate(path string) (k Key, created bool, err error) {
	if k, err = Load(path); !errors.Is(err, fs.ErrNotExist) {
		return k, false, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, false, fmt.Errorf("job key: %w", err)
	}
	// Written aside and linked, so that nobody ever sees half a key. CreateTemp makes files with mode 0600.
	f, err := os.CreateTemp(filepath.Dir(path), ".job-key-*")
	if err != nil {
		return nil, false, fmt.Errorf("job key: %w", err)
	}
	defer os.Remove(f.Name())
	k = Generate()
	_, err = fmt.Fprintln(f, hex.EncodeToString(k))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return nil, false, fmt.Errorf("job key %s: %w", path, err)
	}
	if err := os.Link(f.Name(), path); errors.Is(err, fs.ErrExist) {
		k, err = Load(path)
		return k, false, err
	} else if err != nil {
		return nil, false, fmt.Errorf("job key: %w", err)
	}
	return k, true, nil
}

// Find returns the job's key: from the environment, else from the file, else a new one written to the file.
func Find(environ func(string) string, path string) (k Key, created bool, err error) {
	if text := environ(EnvKey); text != "" {
		if k, err = Parse([]byte(text)); err != nil {
			return nil, false, fmt.Errorf("%s: %w", EnvKey, err)
		}
		return k, false, nil
	}
	return LoadOrCreate(path)
}

// derive is HKDF-SHA256 (RFC 5869): independent keys for independent uses of one key.
func (k Key) derive(use, job string) []byte {
	out, err := hkdf.Key(sha256.New, k, nil, "ringo "+use+" 1\x00"+job, 32)
	if err != nil {
		panic(err) // 32 bytes are always to be had
	}
	return out
}

// Secret is what connections of a job prove to each other that they know.
func (k Key) Secret(job string) []byte { return k.derive("connection secret", job) }
