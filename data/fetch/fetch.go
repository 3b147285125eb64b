// Package fetch owns the download of the public data sets of data.Catalog into the user's cache, verified by
// size and sha256 before they get their final name. It is apart from package data so that reading data does
// not link an HTTP client. It must not know what the files hold.
package fetch

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"ringo/data"
)

// Config says where to put files and how to report. The zero value downloads into data.CacheDir.
type Config struct {
	Dir      string       // empty: data.CacheDir()
	Client   *http.Client // nil: a client that gives up when a server does not answer within 30 s
	Progress func(Progress)
	Catalog  []data.CatalogEntry // nil: data.Catalog
}

// Progress is one report, sent after every piece read (at most about 64 KiB) and once at the end of a file.
type Progress struct {
	Name   string // of the data set
	File   string
	Done   int64 // bytes, including those of an earlier, interrupted download
	Total  int64
	Cached bool // the file was there already, with the right hash
}

// Fetch makes sure that all files of the named set are in place and returns their folder. Files already
// there are verified, not downloaded; an interrupted download goes on where it stopped. Errors are one
// sentence: an unknown name, no connection, or a file that differs from the expected one.
func Fetch(ctx context.Context, name string, cfg Config) (folder string, err error) {
	catalog := cfg.Catalog
	if catalog == nil {
		catalog = data.Catalog
	}
	at := slices.IndexFunc(catalog, func(e data.CatalogEntry) bool { return e.Name == name })
	if at < 0 {
		var names []string
		for _, e := range catalog {
			names = append(names, e.Name)
		}
		return "", fmt.Errorf("data set %q: unknown, expected one of %s", name, strings.Join(names, ", "))
	}
	if cfg.Dir == "" {
		if cfg.Dir, err = data.CacheDir(); err != nil {
			return "", err
		}
	}
	if cfg.Client == nil {
		cfg.Client = defaultClient()
	}
	if cfg.Progress == nil {
		cfg.Progress = func(Progress) {}
	}
	folder = filepath.Join(cfg.Dir, name)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return "", err
	}
	for _, f := range catalog[at].Files {
		g := getter{cfg: cfg, set: name, folder: folder, file: f}
		if err := g.get(ctx); err != nil {
			return "", err
		}
	}
	return folder, nil
}

func defaultClient() *http.Client {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.ResponseHeaderTimeout = 30 * time.Second
	return &http.Client{Transport: t}
}

// getter brings one file.
type getter struct {
	cfg    Config
	set    string
	folder string
	file   data.CatalogFile
}

func (g *getter) report(done int64, cached bool) {
	g.cfg.Progress(Progress{Name: g.set, File: g.file.Path, Done: done, Total: g.file.Size, Cached: cached})
}

// get verifies or downloads the file. The steps: download to NAME.part; check size and hash; unpack or
// rename. A file under its final name is therefore whole.
func (g *getter) get(ctx context.Context) error {
	final := filepath.Join(g.folder, g.file.Path)
	if g.file.Unpack {
		if unpacked(g.folder, g.file) {
			g.report(g.file.Size, true)
			return nil
		}
	} else if sum, _, err := hashFile(final); err == nil && sum == g.file.SHA256 {
		g.report(g.file.Size, true)
		return nil
	}
	part := final + ".part"
	var failures []string
	for _, from := range g.file.URLs {
		err := g.download(ctx, from, part)
		if err == nil {
			if g.file.Unpack {
				return unpack(part, g.folder, g.file)
			}
			return os.Rename(part, final)
		}
		if ctx.Err() != nil {
			return fmt.Errorf("data set %s: %s: stopped; the same command goes on where it was", g.set, g.file.Path)
		}
		failures = append(failures, explain(from, err))
	}
	return fmt.Errorf("data set %s: cannot fetch %s: %s; without a connection, put the file at %s yourself or set RINGO_DATA to a folder that has %s",
		g.set, g.file.Path, strings.Join(failures, "; "), final, filepath.Join(g.set, g.file.Path))
}

// explain turns an error into words: being offline is the usual one.
func explain(from string, err error) string {
	host := from
	if u, e := url.Parse(from); e == nil {
		host = u.Host
	}
	var dns *net.DNSError
	var op *net.OpError
	switch {
	case errors.As(err, &dns):
		return fmt.Sprintf("the name %s cannot be resolved: this machine seems to be offline", host)
	case errors.As(err, &op) && op.Op == "dial":
		return fmt.Sprintf("no connection to %s (%v): this machine seems to be offline", host, op.Err)
	}
	return fmt.Sprintf("%s: %v", host, err)
}

// download brings the file to part, going on after what an earlier try left there.
func (g *getter) download(ctx context.Context, from, part string) error {
	out, err := os.OpenFile(part, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	defer out.Close()
	have, err := out.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	if have > g.file.Size {
		have = 0
	}
	for have < g.file.Size { // one request, or a second from the start when the server cannot resume
		resumed, err := g.request(ctx, from, out, have)
		if err != nil {
			return err
		}
		if resumed || have == 0 {
			break
		}
		have = 0
	}
	if err := out.Sync(); err != nil {
		return err
	}
	sum, size, err := hashFile(part)
	if err != nil {
		return err
	}
	if size != g.file.Size || sum != g.file.SHA256 {
		// What is wrong must not be resumed from.
		return errors.Join(fmt.Errorf("got %d bytes with sha256 %s, expected %d bytes with %s: the file has changed or was damaged",
			size, sum, g.file.Size, g.file.SHA256), os.Remove(part))
	}
	return nil
}

// request asks for the bytes from have on and writes them behind those. It returns false when the server
// sent nothing because it cannot continue there.
func (g *getter) request(ctx context.Context, from string, out *os.File, have int64) (resumed bool, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return false, err
	}
	if have > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", have))
	}
	resp, err := g.cfg.Client.Do(req)
	if err != nil {
		return false, err
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
		have = 0 // the whole file comes, asked for or not
	case http.StatusPartialContent:
		if want := fmt.Sprintf("bytes %d-", have); !strings.HasPrefix(resp.Header.Get("Content-Range"), want) {
			return false, nil
		}
	case http.StatusRequestedRangeNotSatisfiable:
		return false, nil
	default:
		return false, fmt.Errorf("the server answered %s", resp.Status)
	}
	if err := out.Truncate(have); err != nil {
		return false, err
	}
	// One byte more than expected is enough to know that the file is another.
	body := io.LimitReader(resp.Body, g.file.Size-have+1)
	buf := make([]byte, 64<<10)
	for {
		n, err := body.Read(buf)
		if n > 0 {
			if _, err := out.WriteAt(buf[:n], have); err != nil {
				return false, err
			}
			have += int64(n)
			g.report(min(have, g.file.Size), false)
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return false, fmt.Errorf("interrupted after %d of %d bytes (%w); the same command goes on from there", have, g.file.Size, err)
		}
	}
	if have < g.file.Size && resp.ContentLength < 0 {
		return false, fmt.Errorf("interrupted after %d of %d bytes; the same command goes on from there", have, g.file.Size)
	}
	return true, nil
}

func hashFile(path string) (sum string, size int64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return "", 0, err
	}
	defer f.Close()
	h := sha256.New()
	size, err = io.Copy(h, f)
	return hex.EncodeToString(h.Sum(nil)), size, err
}
