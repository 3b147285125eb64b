package fetch

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"ringo/data"
)

var content = bytes.Repeat([]byte("to be or not to be, "), 20_000)

func entry(raw []byte, path string, urls ...string) []data.CatalogEntry {
	sum := sha256.Sum256(raw)
	return []data.CatalogEntry{{Name: "play", Files: []data.CatalogFile{{
		URLs: urls, Path: path, Size: int64(len(raw)), SHA256: hex.EncodeToString(sum[:]), Unpack: strings.HasSuffix(path, ".tar.gz"),
	}}}}
}

// serve returns a server of raw that knows ranges, and the count of bytes it sent.
func serve(t *testing.T, raw []byte) (*httptest.Server, *atomic.Int64) {
	sent := new(atomic.Int64)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(counter{w, sent}, r, "f", time.Time{}, bytes.NewReader(raw))
	}))
	t.Cleanup(s.Close)
	return s, sent
}

type counter struct {
	http.ResponseWriter
	n *atomic.Int64
}

func (c counter) Write(p []byte) (int, error) {
	c.n.Add(int64(len(p)))
	return c.ResponseWriter.Write(p)
}

func TestFetchVerifiesAndKeeps(t *testing.T) {
	t.Parallel()
	s, sent := serve(t, content)
	var reports []Progress
	cfg := Config{Dir: t.TempDir(), Catalog: entry(content, "input.txt", s.URL), Progress: func(p Progress) { reports = append(reports, p) }}
	folder, err := Fetch(context.Background(), "play", cfg)
	require.NoError(t, err)
	got, err := os.ReadFile(filepath.Join(folder, "input.txt"))
	require.NoError(t, err)
	require.Equal(t, content, got)
	last := reports[len(reports)-1]
	require.Equal(t, Progress{Name: "play", File: "input.txt", Done: int64(len(content)), Total: int64(len(content))}, last)
	for i := 1; i < len(reports); i++ {
		require.Greater(t, reports[i].Done, reports[i-1].Done)
	}
	before := sent.Load()
	_, err = Fetch(context.Background(), "play", cfg)
	require.NoError(t, err)
	require.Equal(t, before, sent.Load(), "the second time nothing is downloaded")
	require.True(t, reports[len(reports)-1].Cached)

	require.NoError(t, os.WriteFile(filepath.Join(folder, "input.txt"), content[1:], 0o644))
	_, err = Fetch(context.Background(), "play", cfg)
	require.NoError(t, err)
	require.Equal(t, 2*before, sent.Load(), "a damaged file is fetched again")
}

func TestFetchGoesOnWhereItStopped(t *testing.T) {
	t.Parallel()
	s, sent := serve(t, content)
	dir := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "play"), 0o755))
	part := filepath.Join(dir, "play", "input.txt.part")
	require.NoError(t, os.WriteFile(part, content[:300_000], 0o644))
	_, err := Fetch(context.Background(), "play", Config{Dir: dir, Catalog: entry(content, "input.txt", s.URL)})
	require.NoError(t, err)
	require.Equal(t, int64(100_000), sent.Load())
	require.NoFileExists(t, part)
}

func TestInterruptedDownloadIsKept(t *testing.T) {
	t.Parallel()
	first := true
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if first {
			first = false
			w.Header().Set("Content-Length", fmt.Sprint(len(content)))
			w.Write(content[:200_000])
			return // the connection breaks: fewer bytes than announced
		}
		http.ServeContent(w, r, "f", time.Time{}, bytes.NewReader(content))
	}))
	defer s.Close()
	cfg := Config{Dir: t.TempDir(), Catalog: entry(content, "input.txt", s.URL)}
	_, err := Fetch(context.Background(), "play", cfg)
	require.ErrorContains(t, err, "interrupted after 200000 of 400000 bytes")
	require.NotContains(t, err.Error(), "\n")
	_, err = Fetch(context.Background(), "play", cfg)
	require.NoError(t, err)
}

func TestServerWithoutRangesStartsAgain(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Write(content) }))
	defer s.Close()
	dir := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "play"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "play", "input.txt.part"), []byte("something else"), 0o644))
	_, err := Fetch(context.Background(), "play", Config{Dir: dir, Catalog: entry(content, "input.txt", s.URL)})
	require.NoError(t, err)
}

func TestWrongContentIsRefused(t *testing.T) {
	t.Parallel()
	for name, raw := range map[string][]byte{
		"changed": bytes.ToUpper(content), "shorter": content[:100], "longer": append(bytes.Clone(content), 'x'),
	} {
		s, _ := serve(t, raw)
		dir := t.TempDir()
		_, err := Fetch(context.Background(), "play", Config{Dir: dir, Catalog: entry(content, "input.txt", s.URL)})
		require.ErrorContains(t, err, "the file has changed or was damaged", name)
		left, err := os.ReadDir(filepath.Join(dir, "play"))
		require.NoError(t, err)
		require.Empty(t, left, "what is wrong is not kept")
	}
}

func TestSecondMirrorIsTried(t *testing.T) {
	t.Parallel()
	good, _ := serve(t, content)
	bad := httptest.NewServer(http.NotFoundHandler())
	defer bad.Close()
	_, err := Fetch(context.Background(), "play", Config{Dir: t.TempDir(), Catalog: entry(content, "input.txt", bad.URL, good.URL)})
	require.NoError(t, err)
	_, err = Fetch(context.Background(), "play", Config{Dir: t.TempDir(), Catalog: entry(content, "input.txt", bad.URL)})
	require.ErrorContains(t, err, "404 Not Found")
}

func TestOfflineIsSaidClearly(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.NotFoundHandler())
	s.Close() // nobody listens there now
	for _, from := range []string{s.URL, "http://name.invalid/f"} {
		_, err := Fetch(context.Background(), "play", Config{Dir: t.TempDir(), Catalog: entry(content, "input.txt", from)})
		require.ErrorContains(t, err, "data set play: cannot fetch input.txt:")
		require.ErrorContains(t, err, "this machine seems to be offline")
		require.ErrorContains(t, err, "RINGO_DATA")
		require.NotContains(t, err.Error(), "\n")
	}
	_, err := Fetch(context.Background(), "imagenet", Config{Dir: t.TempDir()})
	require.ErrorContains(t, err, `data set "imagenet": unknown, expected one of mnist, fashion-mnist, cifar-10, tinyshakespeare, gpt2-bpe`)
}

func TestStoppedDownloadSaysSo(t *testing.T) {
	t.Parallel()
	s, _ := serve(t, content)
	ctx, cancel := context.WithCancel(context.Background())
	_, err := Fetch(ctx, "play", Config{Dir: t.TempDir(), Catalog: entry(content, "input.txt", s.URL), Progress: func(Progress) { cancel() }})
	if err != nil { // the whole file may have been in the buffers already
		require.ErrorContains(t, err, "stopped; the same command goes on")
	}
	_, err = Fetch(ctx, "play", Config{Dir: t.TempDir(), Catalog: entry(content, "input.txt", s.URL)})
	require.ErrorContains(t, err, "stopped")
}

// archive packs names with their own name as content.
func archive(t *testing.T, names ...string) []byte {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	w := tar.NewWriter(z)
	for _, n := range names {
		require.NoError(t, w.WriteHeader(&tar.Header{Name: n, Typeflag: tar.TypeReg, Size: int64(len(n)), Mode: 0o600}))
		_, err := w.Write([]byte(n))
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	require.NoError(t, z.Close())
	return out.Bytes()
}

func TestArchiveIsUnpackedOnce(t *testing.T) {
	t.Parallel()
	raw := archive(t, "batches/one.bin", "batches/two.bin")
	s, sent := serve(t, raw)
	cfg := Config{Dir: t.TempDir(), Catalog: entry(raw, "set.tar.gz", s.URL)}
	for range 2 {
		folder, err := Fetch(context.Background(), "play", cfg)
		require.NoError(t, err)
		got, err := os.ReadFile(filepath.Join(folder, "batches", "two.bin"))
		require.NoError(t, err)
		require.Equal(t, "batches/two.bin", string(got))
		require.NoFileExists(t, filepath.Join(folder, "set.tar.gz.part"))
		require.Equal(t, int64(len(raw)), sent.Load())
	}
	evil := archive(t, "../outside")
	s, _ = serve(t, evil)
	dir := t.TempDir()
	_, err := Fetch(context.Background(), "play", Config{Dir: dir, Catalog: entry(evil, "set.tar.gz", s.URL)})
	require.ErrorContains(t, err, "cannot unpack")
	require.NoFileExists(t, filepath.Join(dir, "outside"))
}

func ExampleFetch() {
	_, err := Fetch(context.Background(), "imagenet", Config{Dir: os.TempDir()})
	fmt.Println(err)
	// Output: data set "imagenet": unknown, expected one of mnist, fashion-mnist, cifar-10, tinyshakespeare, gpt2-bpe
}
