// Package export owns what all exports share: the trained model as a source of weights, and its inference
// graph. The formats are its subfolders. It must not know of training: who
// opens a checkpoint hands over its parts.
package export

import (
	"fmt"

	"ringo/runtime/tensor"
)

// Weights gives the contents of a graph's parameters and states.
type Weights interface {
	// Read fills dst with the raw elements of a parameter or state; dst has exactly its bytes.
	Read(name string, dst []byte) error
}

// Tensors are weights in memory, by parameter.
type Tensors map[string]*tensor.Tensor

// Read copies a tensor.
func (m Tensors) Read(name string, dst []byte) error {
	t := m[name]
	if t == nil {
		return fmt.Errorf("weights: no tensor %q among %d", name, len(m))
	}
	if len(t.Bytes()) != len(dst) {
		return fmt.Errorf("weights: tensor %q has %d bytes, expected %d", name, len(t.Bytes()), len(dst))
	}
	copy(dst, t.Bytes())
	return nil
}

// NotFinite says that a weight is no number an export could be used with.
type NotFinite struct {
	Tensor string
	Index  int // in row-major order
	Value  float64
}

func (e *NotFinite) Error() string {
	return fmt.Sprintf("tensor %q has %v at element %d: a model with such weights computes nothing of use; export an earlier checkpoint", e.Tensor, e.Value, e.Index)
}

// Finite returns *NotFinite at the first element of an F32 tensor that is NaN or infinite.
func Finite(name string, raw []byte) error {
	for i, v := range tensor.View[float32](raw) {
		if v-v != 0 { // NaN for NaN and ±Inf
			return &NotFinite{name, i, float64(v)}
		}
	}
	return nil
}

// Checked are weights that are refused where they are not finite. It reads F32 tensors only.
func Checked(w Weights) Weights { return checked{w} }

type checked struct{ Weights }

func (c checked) Read(name string, dst []byte) error {
	if err := c.Weights.Read(name, dst); err != nil {
		return err
	}
	return Finite(name, dst)
}
