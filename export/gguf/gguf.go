// Package gguf owns the file that llama.cpp runs: gpt and llama models with their tokenizer, in f32, f16 or Q8_0.
// It must not know of training.
package gguf

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"ringo/export"
	"ringo/export/huggingface"
	"ringo/internal/files"
	"ringo/models"
	"ringo/runtime/tensor"
)

// Save writes a model to a file, whole or not at all. Matrices have the element type asked for, but those whose rows
// are no multiple of a Q8_0 block are f16; norms, biases and learned positions stay f32, as in llama.cpp's own
// conversions.
func Save(fs files.FS, path string, s *export.Source, t Type) error {
	meta, err := architecture(s.Model.Config)
	if err != nil {
		return err
	}
	if s.Tokenizer == nil {
		return fmt.Errorf("gguf: the model has no tokenizer, without which llama.cpp loads nothing; export onnx or safetensors")
	}
	name := s.Model.Name
	if s.SHA256 != "" {
		name = fmt.Sprintf("ringo %s, step %d", s.Model.Name, s.Step)
	}
	meta = append(meta[:1:1], append([]pair{{"general.name", name}, {"general.type", "model"}, {"general.file_type", fileTypes[t]},
		{"general.quantization_version", uint32(2)}, {"ringo.model_sha256", s.SHA256}}, meta[1:]...)...)
	words, err := tokenizer(s.Tokenizer, s.Model.Vocab)
	if err != nil {
		return err
	}
	meta = append(meta, words...)
	c := &converter{s: s}
	var list []record
	for _, w := range s.Weights() {
		r, err := c.record(w, t)
		if err != nil {
			return err
		}
		list = append(list, r)
	}
	return files.Write(fs, filepath.Dir(path), files.Part{Name: filepath.Base(path), Write: func(w io.Writer) error { return write(w, meta, list) }})
}

// converter streams weights, one after the other, through buffers of its own.
type converter struct {
	s         *export.Source
	raw, flip []byte
	out       []byte
}

// record describes a weight as the file has it. Linear weights are (out,in): GPT-2's are transposed. llama.cpp
// rotates interleaved pairs, so the queries and keys of a model that rotates halves are reordered.
func (c *converter) record(w models.Weight, t Type) (record, error) {
	name, err := nameOf(w.Name)
	if err != nil {
		return record{}, err
	}
	shape := c.s.Shape(w)
	flip := c.s.Model.InOut() && len(shape) == 2 && strings.HasPrefix(name, "blk.")
	if flip {
		shape = tensor.Shape{shape[1], shape[0]}
	}
	switch {
	case len(shape) < 2 || strings.HasPrefix(name, positions):
		t = F32
	case t == Q8_0 && shape[1]%block != 0:
		t = F16
	}
	return record{name: name, shape: shape, dtype: t, write: func(dst io.Writer) error {
		x, err := c.read(w, shape, flip)
		if err != nil {
			return err
		}
		return c.convert(dst, w.Name, t, x, shape[len(shape)-1])
	}}, nil
}

// read returns a weight's elements in the order of the file, valid until the next call.
func (c *converter) read(w models.Weight, shape tensor.Shape, flip bool) ([]float32, error) {
	n := 4 * shape.Size()
	c.raw = grow(c.raw, n)
	if err := c.s.Tensor(w.Name, c.raw); err != nil {
		return nil, err
	}
	if heads := huggingface.Rotated(c.s.Model.Config, w); heads > 0 && !c.s.Model.RopeInterleaved {
		huggingface.Halves(c.raw, heads, n/shape[0], true)
	}
	x := tensor.View[float32](c.raw)
	if flip {
		c.flip = grow(c.flip, n)
		transpose(tensor.View[float32](c.flip), x, shape[1], shape[0])
		x = tensor.View[float32](c.flip)
	}
	return x, nil
}

// convert writes rows of n elements, some at a time.
func (c *converter) convert(dst io.Writer, name string, t Type, x []float32, n int) error {
	const chunk = 1 << 16 // elements, about
	step := max(chunk/n, 1) * n
	for at := 0; at < len(x); at += step {
		part := x[at:min(at+step, len(x))]
		var err error
		if c.out, err = t.convert(c.out[:0], part); err != nil {
			return fmt.Errorf("gguf: tensor %q, elements from %d on: %w", name, at, err)
		}
		if _, err := dst.Write(c.out); err != nil {
			return err
		}
	}
	return nil
}

func grow(b []byte, n int) []byte {
	if cap(b) < n {
		b = tensor.AlignedBytes(n)
	}
	return b[:n]
}
