package fetch

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"ringo/data"
)

// maxUnpacked bounds an archive's content, ten times CIFAR-10's 185 MB.
const maxUnpacked = 2 << 30

// marker returns the file that says an archive was unpacked whole; it holds the archive's hash.
func marker(folder string, f data.CatalogFile) string {
	return filepath.Join(folder, "."+f.Path+".unpacked")
}

func unpacked(folder string, f data.CatalogFile) bool {
	raw, err := os.ReadFile(marker(folder, f))
	return err == nil && string(raw) == f.SHA256
}

// unpack extracts the regular files of a verified .tar.gz into folder, then removes the archive. Names that
// would leave the folder are refused (os.Root).
func unpack(archive, folder string, f data.CatalogFile) error {
	if err := extract(archive, folder); err != nil {
		return fmt.Errorf("%s: cannot unpack: %w", archive, err)
	}
	if err := os.WriteFile(marker(folder, f), []byte(f.SHA256), 0o644); err != nil {
		return err
	}
	return os.Remove(archive)
}

func extract(archive, folder string) error {
	in, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer in.Close()
	z, err := gzip.NewReader(in)
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(folder)
	if err != nil {
		return err
	}
	defer root.Close()
	left := int64(maxUnpacked)
	for t := tar.NewReader(z); ; {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if h.Typeflag != tar.TypeReg {
			continue
		}
		if left -= h.Size; left < 0 {
			return fmt.Errorf("more than %d bytes", int64(maxUnpacked))
		}
		name := filepath.Clean(h.Name)
		if err := root.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
		out, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
		if err != nil {
			return err
		}
		_, err = io.CopyN(out, t, h.Size)
		if err = errors.Join(err, out.Close()); err != nil {
			return err
		}
	}
}
