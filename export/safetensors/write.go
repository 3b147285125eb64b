package safetensors

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"sort"

	"ringo/internal/files"
	"ringo/runtime/tensor"
)

// Item is one tensor to write. Data holds the raw little-endian elements; where it is nil, Fill is called
// once, in file order, and must write exactly the tensor's bytes.
type Item struct {
	Name  string
	DType tensor.DType
	Shape tensor.Shape
	Data  []byte
	Fill  func(w io.Writer) error
}

// FromTensor returns the item that writes t under name.
func FromTensor(name string, t *tensor.Tensor) Item {
	return Item{Name: name, DType: t.DType, Shape: t.Shape, Data: t.Bytes()}
}

// Write streams items to w in canonical order; meta may be nil. Equal items and meta give equal bytes. The data
// starts on a 64-byte boundary.
// It returns an error for a name given twice, an element type that the format lacks, or data of a size
// that does not fit the shape; errors of w are wrapped.
func Write(w io.Writer, meta map[string]string, items []Item) error {
	items = canonical(items)
	head, err := header(meta, items)
	if err != nil {
		return err
	}
	c := &files.Counter{W: w}
	if _, err := c.Write(head); err != nil {
		return fmt.Errorf("safetensors header: %w", err)
	}
	for _, it := range items {
		before := c.N
		if it.Fill == nil {
			_, err = c.Write(it.Data)
		} else {
			err = it.Fill(c)
		}
		if err != nil {
			return fmt.Errorf("safetensors %q: %w", it.Name, err)
		}
		if got, want := c.N-before, int64(it.Shape.Size()*it.DType.Size()); got != want {
			return fmt.Errorf("safetensors %q: %d bytes written, expected %d for %v%v", it.Name, got, want, it.DType, it.Shape)
		}
	}
	return nil
}

// header returns the length prefix and the JSON header, padded with spaces so that data is 64-byte aligned.
func header(meta map[string]string, items []Item) ([]byte, error) {
	var b bytes.Buffer
	b.Write(make([]byte, 8))
	b.WriteByte('{')
	if len(meta) > 0 {
		keys := make([]string, 0, len(meta))
		for k := range meta {
			keys = append(keys, k)
		}
		sort.Strings(keys)
		b.WriteString(`"__metadata__":{`)
		for i, k := range keys {
			comma(&b, i)
			fmt.Fprintf(&b, "%s:%s", quote(k), quote(meta[k]))
		}
		b.WriteByte('}')
	}
	seen := map[string]bool{"__metadata__": true}
	var off int64
	for i, it := range items {
		if seen[it.Name] {
			return nil, fmt.Errorf("safetensors %q: the name is given twice or reserved", it.Name)
		}
		seen[it.Name] = true
		r := rank(it.DType)
		if r < 0 {
			return nil, fmt.Errorf("safetensors %q: element type %v has no place in the format", it.Name, it.DType)
		}
		end := off + int64(it.Shape.Size()*it.DType.Size())
		if i > 0 || len(meta) > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `%s:{"dtype":"%s","shape":[`, quote(it.Name), dtypes[r].name)
		for j, d := range it.Shape {
			comma(&b, j)
			fmt.Fprint(&b, d)
		}
		fmt.Fprintf(&b, `],"data_offsets":[%d,%d]}`, off, end)
		off = end
	}
	b.WriteByte('}')
	for b.Len()%tensor.Align != 0 {
		b.WriteByte(' ')
	}
	if b.Len()-8 > MaxHeader {
		return nil, fmt.Errorf("safetensors: a header of %d bytes, at most %d are allowed", b.Len()-8, MaxHeader)
	}
	out := b.Bytes()
	binary.LittleEndian.PutUint64(out, uint64(len(out)-8))
	return out, nil
}

func comma(b *bytes.Buffer, i int) {
	if i > 0 {
		b.WriteByte(',')
	}
}

func quote(s string) []byte {
	q, _ := json.Marshal(s) // a string always marshals
	return q
}
