// Package data owns what a training run reads: sources (IDX and CIFAR images, text, CSV tables, token
// files, the Go standard library's source, synthetic samples), tokenizers, augmentations, and the
// lane-addressed loader. It hands out raw little-endian bytes and must not know of graphs, models or
// training.
package data

import (
	"errors"
	"fmt"
	"io"

	"ringo/runtime/tensor"
)

// Field describes one part of a sample, such as {"tokens", I32, (64)}. Inputs come first, the target last.
//
//	text:  tokens I32 (T), targets I32 (T): the same window one token later
//	image: images F32 (C,H,W), labels I32 ()
//	table: features F32 (F) [, categories I32 (M)], labels I32 () or, for a numeric target, targets F32 ()
type Field struct {
	Name  string
	DType tensor.DType
	Shape tensor.Shape
}

// Bytes returns the size of the field in one sample.
func (f Field) Bytes() int { return f.Shape.Size() * f.DType.Size() }

// Dataset is a numbered collection of samples, safe for concurrent use.
type Dataset interface {
	// Len is the number of samples, at least one.
	Len() int
	// Fields lists the parts of every sample; the slice is not to be changed.
	Fields() []Field
	// Info describes the whole set.
	Info() Info
	// Read writes sample i, 0 ≤ i < Len, field k into dst[k], whose length is exactly Fields()[k].Bytes().
	// A nil rng means no augmentation; else the augmentation is a function of rng alone. Read allocates
	// nothing.
	Read(i int, rng *tensor.Philox, dst [][]byte) error
}

// Windowed is a Dataset of a token stream that can also cut a window at any offset, which random
// sampling uses.
type Windowed interface {
	Dataset
	// Offsets is the number of places where a window may start.
	Offsets() int
	// ReadAt writes the window that starts at token offset, 0 ≤ offset < Offsets, as Read does.
	ReadAt(offset int, dst [][]byte) error
}

// The values of Info.Kind.
const (
	KindText  = "text"
	KindImage = "image"
	KindTable = "table"
)

// Info describes a data set. What a kind does not have is zero.
type Info struct {
	Kind      string     // KindText, KindImage or KindTable
	Classes   int        // number of classes of the labels; 0 for text and for a numeric target
	Labels    []string   // the classes' names, where the source has them
	Vocab     int        // text: number of token ids
	Tokenizer Tokenizer  // text: nil for token files without a named tokenizer and for synthetic tokens
	Tokens    int        // text: length of the token stream
	Image     *ImageSpec // image: how raw pixels become the images field
	Table     *Schema    // table: how a row becomes the features
	Sampling  string     // the sampling a loader uses unless told: SampleRandom for text, else SampleEpoch
	Describe  string     // one line for people
	Hash      string     // sha256 (hex) over the source's bytes, so that two runs can be told to have read the same
}

// ImageSpec says how raw pixels p ∈ 0…255 become network inputs: (p/255 − Mean[c]) / Std[c].
type ImageSpec struct {
	Channels, Height, Width int
	Mean, Std               []float32
}

// KeyError says that a key of the configuration has a value that the data show to be impossible, such as a column that a table does
// not have.
type KeyError struct {
	Key string // data.target
	Msg string
}

func (e *KeyError) Error() string { return e.Key + ": " + e.Msg }

// Open opens the training and the validation set that cfg names. Both have the same fields and the same
// preparation (vocabulary, normalisation), which is learnt from the training part, save for the
// character vocabulary, which covers the whole text. Errors are one sentence for the user, a *KeyError where a key is to blame.
func Open(cfg Config) (train, valid Dataset, err error) {
	cfg = cfg.withDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, nil, err
	}
	train, valid, err = sourceNamed(cfg.Source).open(cfg)
	var wrong *KeyError
	if err != nil && !errors.As(err, &wrong) {
		err = fmt.Errorf("data source %s: %w", cfg.Source, err)
	}
	return train, valid, err
}

// Close releases the files that a data set may hold open.
func Close(ds Dataset) error {
	if c, ok := ds.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

// checkRead refuses a sample number or buffers that do not fit; datasets call it first in Read.
func checkRead(i, n int, fields []Field, dst [][]byte) error {
	if i < 0 || i >= n {
		return fmt.Errorf("data: sample %d is outside 0…%d", i, n-1)
	}
	if len(dst) != len(fields) {
		return fmt.Errorf("data: %d buffers for %d fields", len(dst), len(fields))
	}
	for k, f := range fields {
		if len(dst[k]) != f.Bytes() {
			return fmt.Errorf("data: field %s needs %d bytes, the buffer has %d", f.Name, f.Bytes(), len(dst[k]))
		}
	}
	return nil
}
