package gguf

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"

	"ringo/internal/files"
	"ringo/runtime/tensor"
)

// The GGUF format, version 3 (docs/gguf.md of the ggml project): magic, version, counts; metadata as keys with typed
// values; one record per tensor; and, aligned, the tensors' data. All little-endian.

const (
	magic     = "GGUF"
	version   = 3
	alignment = 32 // general.alignment's default, of every tensor's data
)

// Types of metadata values.
const (
	kindU32    = 4
	kindI32    = 5
	kindF32    = 6
	kindBool   = 7
	kindString = 8
	kindArray  = 9
)

// Type is an element type of tensors, by ggml's numbers.
type Type uint32

// The types that are written.
const (
	F32 Type = 0
	F16 Type = 1
	// Q8_0 has blocks of 32 elements: a scale d in f16, then 32 int8 q; x = d·q.
	Q8_0 Type = 8
)

// block is the elements of one Q8_0 block.
const block = 32

// Types names what --dtype may ask for.
var Types = map[string]Type{"f32": F32, "f16": F16, "q8_0": Q8_0}

// fileTypes are the values of general.file_type: what most tensors are.
var fileTypes = map[Type]uint32{F32: 0, F16: 1, Q8_0: 7}

// rowBytes returns the bytes of a row of n elements.
func (t Type) rowBytes(n int) int {
	switch t {
	case F16:
		return 2 * n
	case Q8_0:
		return n / block * (2 + block)
	}
	return 4 * n
}

// pair is one metadata entry; value is uint32, int32, float32, bool, string or a slice of one of these but bool.
type pair struct {
	key   string
	value any
}

// record describes a tensor. Shape is as ringo's, outermost first; the file has it the other way round.
type record struct {
	name  string
	shape tensor.Shape
	dtype Type
	write func(w io.Writer) error
}

func (r record) bytes() int64 {
	n := r.shape[len(r.shape)-1]
	return int64(r.shape.Size()/n) * int64(r.dtype.rowBytes(n))
}

// write streams a file.
func write(w io.Writer, meta []pair, list []record) error {
	head, err := header(meta, list)
	if err != nil {
		return err
	}
	c := &counter{files.Counter{W: w}}
	if _, err := c.Write(head); err != nil {
		return err
	}
	for _, r := range list {
		if err := c.pad(); err != nil {
			return err
		}
		before := c.N
		if err := r.write(c); err != nil {
			return err
		}
		if c.N-before != r.bytes() {
			return fmt.Errorf("gguf: tensor %q took %d bytes, expected %d", r.name, c.N-before, r.bytes())
		}
	}
	return c.pad()
}

// header is everything before the tensors' data, without padding.
func header(meta []pair, list []record) ([]byte, error) {
	b := []byte(magic)
	b = le32(b, version)
	b = le64(b, uint64(len(list)))
	b = le64(b, uint64(len(meta)))
	for _, p := range meta {
		b = text(b, p.key)
		var err error
		if b, err = value(b, p.value); err != nil {
			return nil, fmt.Errorf("gguf: key %q: %w", p.key, err)
		}
	}
	var offset int64
	for _, r := range list {
		b = text(b, r.name)
		b = le32(b, uint32(len(r.shape)))
		for i := range r.shape {
			b = le64(b, uint64(r.shape[len(r.shape)-1-i]))
		}
		b = le32(b, uint32(r.dtype))
		b = le64(b, uint64(offset))
		offset = (offset + r.bytes() + alignment - 1) / alignment * alignment
	}
	return b, nil
}

func le32(b []byte, v uint32) []byte { return binary.LittleEndian.AppendUint32(b, v) }
func le64(b []byte, v uint64) []byte { return binary.LittleEndian.AppendUint64(b, v) }

func text(b []byte, s string) []byte { return append(le64(b, uint64(len(s))), s...) }

func value(b []byte, v any) ([]byte, error) {
	switch v := v.(type) {
	case uint32:
		return le32(le32(b, kindU32), v), nil
	case int32:
		return le32(le32(b, kindI32), uint32(v)), nil
	case float32:
		return le32(le32(b, kindF32), math.Float32bits(v)), nil
	case bool:
		b = le32(b, kindBool)
		if v {
			return append(b, 1), nil
		}
		return append(b, 0), nil
	case string:
		return text(le32(b, kindString), v), nil
	case []string:
		b = le64(le32(le32(b, kindArray), kindString), uint64(len(v)))
		for _, s := range v {
			b = text(b, s)
		}
		return b, nil
	case []int32:
		b = le64(le32(le32(b, kindArray), kindI32), uint64(len(v)))
		for _, x := range v {
			b = le32(b, uint32(x))
		}
		return b, nil
	case []float32:
		b = le64(le32(le32(b, kindArray), kindF32), uint64(len(v)))
		for _, x := range v {
			b = le32(b, math.Float32bits(x))
		}
		return b, nil
	}
	return nil, fmt.Errorf("a %T has no form in the format", v)
}

// counter counts the bytes that pass, so that tensors can be aligned.
type counter struct{ files.Counter }

func (c *counter) pad() error {
	_, err := c.Write(make([]byte, (alignment-c.N%alignment)%alignment))
	return err
}
