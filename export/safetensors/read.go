package safetensors

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sort"

	"ringo/runtime/tensor"
)

// File is an open safetensors file. Reading is safe for concurrent use.
type File struct {
	Metadata map[string]string
	entries  []Entry // by offset
	byName   map[string]int
	r        io.ReaderAt
	close    func() error
}

// Open opens and checks a file: the header must be well formed and its tensors must cover the data
// exactly. Tensor contents are read only when asked for.
func Open(path string) (*File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err == nil {
		var out *File
		if out, err = New(f, st.Size()); err == nil {
			out.close = f.Close
			return out, nil
		}
	}
	return nil, errors.Join(fmt.Errorf("%s: %w", path, err), f.Close())
}

// New reads the header of size bytes at r. It never reads or allocates more than the header's length,
// which is bounded by size and MaxHeader.
func New(r io.ReaderAt, size int64) (*File, error) {
	var prefix [8]byte
	if size < int64(len(prefix)) {
		return nil, fmt.Errorf("not a safetensors file: %d bytes, expected at least 8", size)
	}
	if err := readFull(r, prefix[:], 0); err != nil {
		return nil, err
	}
	n := binary.LittleEndian.Uint64(prefix[:])
	if n > MaxHeader || int64(n) > size-8 {
		return nil, fmt.Errorf("not a safetensors file, or cut off: header of %d bytes in a file of %d", n, size)
	}
	head := make([]byte, n)
	if err := readFull(r, head, 8); err != nil {
		return nil, err
	}
	f := &File{r: r, byName: map[string]int{}}
	if err := f.parse(head, 8+int64(n), size); err != nil {
		return nil, fmt.Errorf("safetensors header: %w", err)
	}
	return f, nil
}

// row is a tensor's description as the header spells it.
type row struct {
	DType   string   `json:"dtype"`
	Shape   []int64  `json:"shape"`
	Offsets [2]int64 `json:"data_offsets"`
}

func (f *File) parse(head []byte, start, size int64) error {
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(head, &raw); err != nil {
		return err
	}
	for name, msg := range raw {
		if name == "__metadata__" {
			if err := json.Unmarshal(msg, &f.Metadata); err != nil {
				return fmt.Errorf("__metadata__: %w", err)
			}
			continue
		}
		e, err := entry(name, msg, start)
		if err != nil {
			return fmt.Errorf("tensor %q: %w", name, err)
		}
		f.entries = append(f.entries, e)
	}
	sort.Slice(f.entries, func(i, j int) bool {
		a, b := f.entries[i], f.entries[j]
		if a.Offset != b.Offset {
			return a.Offset < b.Offset
		}
		if a.Bytes != b.Bytes {
			return a.Bytes < b.Bytes // empty tensors come before the one that starts where they do
		}
		return a.Name < b.Name
	})
	return f.cover(start, size)
}

func entry(name string, msg json.RawMessage, start int64) (Entry, error) {
	var r row
	if err := json.Unmarshal(msg, &r); err != nil {
		return Entry{}, err
	}
	d, err := dtypeNamed(r.DType)
	if err != nil {
		return Entry{}, err
	}
	want, err := byteCount(d, r.Shape)
	if err != nil {
		return Entry{}, err
	}
	if r.Offsets[0] < 0 || r.Offsets[1] < r.Offsets[0] || r.Offsets[1]-r.Offsets[0] != want {
		return Entry{}, fmt.Errorf("data offsets %v, expected %d bytes for %v%v", r.Offsets, want, d, r.Shape)
	}
	shape := make(tensor.Shape, len(r.Shape))
	for i, dim := range r.Shape {
		shape[i] = int(dim)
	}
	return Entry{Name: name, DType: d, Shape: shape, Offset: start + r.Offsets[0], Bytes: want}, nil
}

// cover checks that the tensors follow one another without gap or overlap and end where the file does.
func (f *File) cover(at, size int64) error {
	for i, e := range f.entries {
		if e.Offset != at {
			return fmt.Errorf("tensor %q starts at byte %d, expected %d: gap or overlap", e.Name, e.Offset, at)
		}
		if e.Bytes > size-at {
			return fmt.Errorf("tensor %q ends at byte %d, the file has %d: it is cut off", e.Name, at+e.Bytes, size)
		}
		at += e.Bytes
		f.byName[e.Name] = i
	}
	if at != size {
		return fmt.Errorf("the tensors end at byte %d, the file has %d", at, size)
	}
	return nil
}

// Entries lists the tensors in file order. Callers must not change it.
func (f *File) Entries() []Entry { return f.entries }

// Lookup returns the description of a tensor.
func (f *File) Lookup(name string) (Entry, bool) {
	i, ok := f.byName[name]
	if !ok {
		return Entry{}, false
	}
	return f.entries[i], true
}

// Tensor reads one tensor into new memory.
func (f *File) Tensor(name string) (*tensor.Tensor, error) {
	e, ok := f.Lookup(name)
	if !ok {
		return nil, fmt.Errorf("safetensors: no tensor %q among %d", name, len(f.entries))
	}
	t := tensor.New(e.DType, e.Shape...)
	return t, f.ReadInto(name, t.Bytes())
}

// ReadInto reads the raw elements of one tensor; dst must have exactly its size.
func (f *File) ReadInto(name string, dst []byte) error {
	e, ok := f.Lookup(name)
	if !ok {
		return fmt.Errorf("safetensors: no tensor %q among %d", name, len(f.entries))
	}
	if int64(len(dst)) != e.Bytes {
		return fmt.Errorf("safetensors %q: destination of %d bytes, expected %d", name, len(dst), e.Bytes)
	}
	if err := readFull(f.r, dst, e.Offset); err != nil {
		return fmt.Errorf("safetensors %q: %w", name, err)
	}
	return nil
}

// Close closes the file that Open opened.
func (f *File) Close() error {
	if f.close == nil {
		return nil
	}
	return f.close()
}

func readFull(r io.ReaderAt, dst []byte, off int64) error {
	n, err := r.ReadAt(dst, off)
	if n == len(dst) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return err
}
