package data

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// idxArray is the content of an IDX file of bytes (the format of MNIST, http://yann.lecun.com/exdb/mnist).
type idxArray struct {
	shape []int
	bytes []byte // row-major, shares the file's memory
}

// maxIDX bounds what an IDX file may unpack to: 4 GiB, a hundred times MNIST.
const maxIDX = 4 << 30

// parseIDX reads a file whose magic number must be 0x00000800 + rank: two zero bytes, the type (8, unsigned
// byte), the number of dimensions, then each dimension as a big-endian uint32, then the elements.
func parseIDX(raw []byte, rank int) (idxArray, error) {
	header := 4 + 4*rank
	if len(raw) < 4 {
		return idxArray{}, fmt.Errorf("truncated: %d bytes, the header alone takes %d", len(raw), header)
	}
	want := uint32(0x800 + rank)
	if magic := binary.BigEndian.Uint32(raw); magic != want {
		return idxArray{}, fmt.Errorf("wrong magic number 0x%08x, expected 0x%08x (IDX of unsigned bytes in %d dimensions)", magic, want, rank)
	}
	if len(raw) < header {
		return idxArray{}, fmt.Errorf("truncated: %d bytes, the header alone takes %d", len(raw), header)
	}
	a := idxArray{bytes: raw[header:]}
	size := uint64(1)
	for d := range rank {
		n := binary.BigEndian.Uint32(raw[4+4*d:])
		a.shape = append(a.shape, int(n))
		if size *= uint64(n); size > maxIDX {
			return idxArray{}, fmt.Errorf("the header announces %v elements, more than %d", a.shape, int64(maxIDX))
		}
	}
	switch got := uint64(len(a.bytes)); {
	case size == 0:
		return idxArray{}, fmt.Errorf("the header announces shape %v, expected no empty dimension", a.shape)
	case got < size:
		return idxArray{}, fmt.Errorf("truncated: %d bytes after the header, shape %v needs %d", got, a.shape, size)
	case got > size:
		return idxArray{}, fmt.Errorf("%d bytes after the header, shape %v needs only %d", got, a.shape, size)
	}
	return a, nil
}

// openIDX opens MNIST, Fashion-MNIST or any set in their format. path is the folder of the four files, or
// the training images' file; test likewise. Without test images the tail of the training set validates.
func openIDX(cfg Config) (train, valid Dataset, err error) {
	base, err := Find(cfg.Path)
	if err != nil {
		return nil, nil, err
	}
	sum := newHash()
	read := func(path string, name string) (pixels, error) {
		images, err := idxFile(path, name)
		if err != nil {
			return pixels{}, err
		}
		return readIDXPair(images, sum)
	}
	a, err := read(base, idxNames[0])
	if err != nil {
		return nil, nil, err
	}
	var b pixels
	if cfg.Test != "" {
		if base, err = Find(cfg.Test); err != nil {
			return nil, nil, err
		}
	}
	_, missing := idxFile(base, idxNames[2])
	switch st, err := os.Stat(base); {
	case err != nil:
		return nil, nil, err
	case cfg.Test == "" && (!st.IsDir() || missing != nil):
		a, b = a.split(cfg.Split)
	default:
		if b, err = read(base, idxNames[2]); err != nil {
			return nil, nil, err
		}
	}
	return imageSets(cfg, a, b, nil, hexSum(sum))
}

// idxFile returns the images' file: path itself, or the file of the given name in the folder path, plain
// or gzip.
func idxFile(path, name string) (string, error) {
	st, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if !st.IsDir() {
		return path, nil
	}
	for _, suffix := range []string{"", ".gz"} {
		p := filepath.Join(path, name+suffix)
		if _, err := os.Stat(p); err == nil {
			return p, nil
		}
	}
	return "", fmt.Errorf("%s: has neither %s nor %s.gz", path, name, name)
}

// readIDXPair reads images and, from the file beside it with "labels-idx1" in the name, labels.
func readIDXPair(images string, sum io.Writer) (pixels, error) {
	dir, file := filepath.Split(images)
	if !strings.Contains(file, "images-idx3") {
		return pixels{}, fmt.Errorf("%s: expected images-idx3 in the file's name, so that the labels are in the file with labels-idx1 instead", images)
	}
	labels := dir + strings.Replace(file, "images-idx3", "labels-idx1", 1)
	x, err := readIDX(images, 3, sum)
	if err != nil {
		return pixels{}, err
	}
	y, err := readIDX(labels, 1, sum)
	if err != nil {
		return pixels{}, err
	}
	if x.shape[0] != y.shape[0] {
		return pixels{}, fmt.Errorf("%s has %d images but %s has %d labels", images, x.shape[0], labels, y.shape[0])
	}
	return pixels{channels: 1, height: x.shape[1], width: x.shape[2], data: x.bytes, labels: y.bytes}, nil
}

func readIDX(path string, rank int, sum io.Writer) (idxArray, error) {
	raw, err := readFile(path, maxIDX, sum)
	if err != nil {
		return idxArray{}, err
	}
	a, err := parseIDX(raw, rank)
	if err != nil {
		return idxArray{}, fmt.Errorf("%s: %w", path, err)
	}
	return a, nil
}
