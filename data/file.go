package data

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"os"
	"strings"
)

// readFile returns the content of a file, unpacked if its name ends in .gz, and adds the bytes of the file
// as stored to sum. An unpacked content above limit bytes is an error (0: no limit), so that a small
// malicious file cannot fill the memory.
func readFile(path string, limit int64, sum io.Writer) ([]byte, error) {
	if st, err := os.Stat(path); err != nil {
		return nil, err
	} else if st.IsDir() {
		return nil, fmt.Errorf("%s: is a folder, expected a file", path)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if sum != nil {
		sum.Write(raw)
	}
	if strings.HasSuffix(path, ".gz") {
		if raw, err = gunzip(raw, limit); err != nil {
			return nil, fmt.Errorf("%s: not a whole gzip file (%w); fetch it again", path, err)
		}
	} else if limit > 0 && int64(len(raw)) > limit {
		return nil, fmt.Errorf("%s: %d bytes, more than the %d its header allows", path, len(raw), limit)
	}
	return raw, nil
}

func gunzip(raw []byte, limit int64) ([]byte, error) {
	z, err := gzip.NewReader(bytes.NewReader(raw))
	if err != nil {
		return nil, err
	}
	var r io.Reader = z
	if limit > 0 {
		r = io.LimitReader(z, limit+1)
	}
	var out bytes.Buffer
	// The last four bytes hold the unpacked length (RFC 1952, 2.3.1). A hint only, and it may lie, so it is
	// bounded by deflate's best ratio, 1032.
	if n := len(raw); n >= 4 {
		hint := int64(raw[n-4]) | int64(raw[n-3])<<8 | int64(raw[n-2])<<16 | int64(raw[n-1])<<24
		if hint <= int64(n)*1032 && hint <= 1<<30 && (limit == 0 || hint <= limit) {
			out.Grow(int(hint) + bytes.MinRead)
		}
	}
	if _, err := out.ReadFrom(r); err != nil {
		return nil, err
	}
	if limit > 0 && int64(out.Len()) > limit {
		return nil, fmt.Errorf("unpacks to more than %d bytes", limit)
	}
	return out.Bytes(), nil
}

func hexSum(h hash.Hash) string { return hex.EncodeToString(h.Sum(nil)) }

func newHash() hash.Hash { return sha256.New() }
