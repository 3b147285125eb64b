package data

import (
	"fmt"

	"ringo/runtime/tensor"
)

// IgnoreLabel fills the integer target of rows that only pad the last batch, so that a loss which ignores
// this label is the exact mean over the real rows.
const IgnoreLabel = -1

// Batches walks through a data set in order, for evaluation: no shuffling, no augmentation. It allocates
// one batch. Not safe for concurrent use; workers that share an evaluation each make their own and take
// every W-th batch.
type Batches struct {
	ds     Dataset
	batch  int
	fields []Field
	buf    [][]byte
	row    [][]byte
}

// NewBatches returns an iterator of batches of the given number of rows.
func NewBatches(ds Dataset, batch int) (*Batches, error) {
	if batch < 1 {
		return nil, fmt.Errorf("data batches: batch %d, expected at least 1", batch)
	}
	fields := batched(ds.Fields(), batch)
	return &Batches{ds: ds, batch: batch, fields: fields, buf: newBuffers(fields), row: make([][]byte, len(fields))}, nil
}

// Len is the number of batches, the last one possibly partial.
func (b *Batches) Len() int { return (b.ds.Len() + b.batch - 1) / b.batch }

// Fields describes what Read returns: the data set's fields with the batch's rows in front.
func (b *Batches) Fields() []Field { return b.fields }

// Read returns batch number i, 0 ≤ i < Len, and how many of its rows are samples; the rows after them are
// zero, their integer target IgnoreLabel. The buffers stay valid until the next Read.
func (b *Batches) Read(i int) (fields [][]byte, valid int, err error) {
	if i < 0 || i >= b.Len() {
		return nil, 0, fmt.Errorf("data batches: batch %d is outside 0…%d", i, b.Len()-1)
	}
	valid = min(b.batch, b.ds.Len()-i*b.batch)
	for r := range valid {
		for k := range b.row {
			n := len(b.buf[k]) / b.batch
			b.row[k] = b.buf[k][r*n : (r+1)*n : (r+1)*n]
		}
		if err := b.ds.Read(i*b.batch+r, nil, b.row); err != nil {
			return nil, 0, fmt.Errorf("evaluation batch %d, row %d: %w", i, r, err)
		}
	}
	target := len(b.buf) - 1
	for k, raw := range b.buf {
		pad := raw[len(raw)/b.batch*valid:]
		clear(pad)
		if k == target && b.fields[k].DType == tensor.I32 {
			for j := range tensor.View[int32](pad) {
				tensor.View[int32](pad)[j] = IgnoreLabel
			}
		}
	}
	return b.buf, valid, nil
}
