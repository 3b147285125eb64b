package onnx

import (
	"fmt"
	"io"
	"path/filepath"

	"ringo/internal/files"
)

// WriteTo streams the model with its weights inside. A model too large for that is an error: Save it.
func (f *File) WriteTo(w io.Writer) (int64, error) {
	l, size, err := f.plan("")
	if err != nil {
		return 0, err
	}
	if size > maxMessage {
		return 0, fmt.Errorf("onnx: %d bytes in one message, at most %d are allowed", size, maxMessage)
	}
	c := &files.Counter{W: w}
	err = f.write(c, l)
	return c.N, err
}

// Save writes the model to a file, whole or not at all. Beyond 2 GiB, the most that a protobuf message may have, the
// weights go to a second file with .data appended to its name, which must stay beside the first.
func (f *File) Save(fs files.FS, path string) error { return f.save(fs, path, maxMessage) }

func (f *File) save(fs files.FS, path string, limit int64) error {
	dir, name := filepath.Split(path)
	l, size, err := f.plan("")
	if err != nil {
		return err
	}
	var parts []files.Part
	if size > limit {
		data := name + ".data"
		if l, _, err = f.plan(data); err != nil {
			return err
		}
		parts = append(parts, files.Part{Name: data, Write: f.writeData})
	}
	parts = append(parts, files.Part{Name: name, Write: func(w io.Writer) error { return f.write(w, l) }})
	return files.Write(fs, filepath.Clean(dir), parts...)
}
