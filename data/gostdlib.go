package data

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// stdlibFolders are the packages whose source makes the corpus: hand-written, readable, about 3 MB.
// Left out are tables, tests, and what depends on the platform or was generated.
var stdlibFolders = []string{
	"archive/tar", "archive/zip", "bufio", "bytes", "compress/bzip2", "compress/flate", "compress/gzip", "compress/lzw",
	"container/heap", "container/list", "container/ring", "context", "database/sql", "encoding/base64", "encoding/binary",
	"encoding/csv", "encoding/gob", "encoding/hex", "encoding/json", "encoding/pem", "encoding/xml", "errors", "expvar",
	"flag", "fmt", "go/ast", "go/build", "go/constant", "go/doc", "go/format", "go/parser", "go/printer", "go/scanner",
	"go/token", "go/types", "hash/adler32", "hash/fnv", "html/template", "image", "image/color", "image/draw", "image/gif",
	"image/jpeg", "image/png", "index/suffixarray", "io", "io/fs", "log", "log/slog", "maps", "math/big", "math/rand",
	"mime", "mime/multipart", "net/http", "net/mail", "net/rpc", "net/textproto", "net/url", "path", "path/filepath",
	"reflect", "regexp", "regexp/syntax", "slices", "sort", "strconv", "strings", "sync", "testing", "text/scanner",
	"text/tabwriter", "text/template", "text/template/parse", "time",
}

// openGoStdlib concatenates Go's own library source, a text that every builder of ringo has. Files are taken
// in sorted order, without tests, generated files, the licence header that all share, and files with characters
// outside ASCII (they would add hundreds of characters that occur once). Every tenth file (by split) validates, so that both parts
// come from the same packages.
func openGoStdlib(cfg Config) (train, valid Dataset, err error) {
	root, err := goRoot(cfg.Path)
	if err != nil {
		return nil, nil, err
	}
	var files [][]byte
	for _, folder := range stdlibFolders {
		entries, err := os.ReadDir(filepath.Join(root, "src", filepath.FromSlash(folder)))
		if err != nil {
			continue // packages come and go between Go versions
		}
		for _, e := range entries { // ReadDir sorts
			name := e.Name()
			if e.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
				continue
			}
			raw, err := os.ReadFile(filepath.Join(root, "src", filepath.FromSlash(folder), name))
			if err != nil {
				return nil, nil, err
			}
			if text := trimLicence(raw); learnable(text) {
				files = append(files, text)
			}
		}
	}
	if len(files) < 2 {
		return nil, nil, fmt.Errorf("%s has %d of the expected source files in src: it is not a Go installation with its library's source", root, len(files))
	}
	var parts [2]bytes.Buffer
	sum := newHash()
	for i, text := range files {
		// File i validates when the count due, ⌊(i+1)(1−split)⌋, goes up.
		due := 1 - cfg.Split
		part := &parts[0]
		if int(float64(i+1)*due) > int(float64(i)*due) || i == len(files)-1 && parts[1].Len() == 0 {
			part = &parts[1]
		}
		part.Write(text)
		part.WriteByte('\n')
		sum.Write(text)
	}
	name := fmt.Sprintf("Go library source (%d files of %s)", len(files), root)
	return textSets(cfg, name, parts[0].String(), parts[1].String(), hexSum(sum))
}

// goRoot finds a folder with src/fmt: the given path, $GOROOT, the toolchain's own, what `go env` says, and
// the usual places.
func goRoot(path string) (string, error) {
	var tried []string
	is := func(root string) bool {
		if root == "" || slices.Contains(tried, root) {
			return false
		}
		tried = append(tried, root)
		return isDir(filepath.Join(root, "src", "fmt"))
	}
	if path != "" {
		if is(path) {
			return path, nil
		}
		return "", &KeyError{"data.path", fmt.Sprintf("%s has no src/fmt folder; give the folder that `go env GOROOT` prints", path)}
	}
	for _, root := range []func() string{
		func() string { return os.Getenv("GOROOT") },
		//lint:ignore SA1019 empty in a trimmed binary, and then the next place is asked
		runtime.GOROOT,
		goEnvRoot,
		func() string { return "/usr/local/go" },
		func() string { return "/usr/lib/go" },
		func() string { return "/opt/homebrew/opt/go/libexec" },
	} {
		if r := root(); is(r) {
			return r, nil
		}
	}
	return "", fmt.Errorf("no Go source tree found (looked in %s); install Go, or give its folder as data.path or GOROOT", strings.Join(tried, ", "))
}

// goEnvRoot asks the go command, if there is one.
func goEnvRoot() string {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}

// trimLicence drops the copyright comment at the head of a file.
func trimLicence(raw []byte) []byte {
	if !bytes.HasPrefix(raw, []byte("// Copyright")) {
		return raw
	}
	_, rest, found := bytes.Cut(raw, []byte("\n\n"))
	if !found {
		return raw
	}
	return bytes.TrimLeft(rest, "\n")
}

// learnable refuses generated files and characters outside ASCII.
func learnable(text []byte) bool {
	if bytes.Contains(text[:min(len(text), 400)], []byte("DO NOT EDIT")) {
		return false
	}
	for _, c := range text {
		if c >= 0x80 {
			return false
		}
	}
	return len(text) > 0
}
