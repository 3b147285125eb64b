// Package safetensors reads and writes the tensor file format of Hugging Face (version 0.4 of
// github.com/huggingface/safetensors, README "Format"): eight bytes of little-endian header length, a
// JSON header, then all elements without gaps. It owns the bytes only: it must not know of models,
// graphs or checkpoints.
package safetensors

import (
	"fmt"
	"math"
	"sort"

	"ringo/runtime/tensor"
)

// MaxHeader bounds the header, as the reference implementation does; a longer one is refused unread.
const MaxHeader = 100 << 20

// Entry describes one tensor of a file. Data lies at Offset, counted from the file's start.
type Entry struct {
	Name   string
	DType  tensor.DType
	Shape  tensor.Shape
	Offset int64
	Bytes  int64
}

// dtypes is the table of the format's element types that ringo holds too, widest first in the order that
// the reference writer sorts by.
var dtypes = []struct {
	name  string
	dtype tensor.DType
}{
	{"I64", tensor.I64},
	{"F64", tensor.F64},
	{"F32", tensor.F32},
	{"I32", tensor.I32},
	{"BF16", tensor.BF16},
	{"F16", tensor.F16},
	{"I8", tensor.I8},
	{"U8", tensor.U8},
	{"BOOL", tensor.Bool},
}

// rank returns a type's row in the table, −1 where the format lacks it.
func rank(d tensor.DType) int {
	for i, row := range dtypes {
		if row.dtype == d {
			return i
		}
	}
	return -1
}

func dtypeNamed(name string) (tensor.DType, error) {
	for _, row := range dtypes {
		if row.name == name {
			return row.dtype, nil
		}
	}
	return tensor.Invalid, fmt.Errorf("element type %q: expected one of I64 F64 F32 I32 BF16 F16 I8 U8 BOOL", name)
}

// canonical sorts by element type, widest first so that every tensor is aligned to its element size,
// then by name: equal tensors give equal bytes whatever order the caller had them in.
func canonical(items []Item) []Item {
	out := append([]Item(nil), items...)
	sort.SliceStable(out, func(i, j int) bool {
		a, b := out[i], out[j]
		if ra, rb := rank(a.DType), rank(b.DType); ra != rb {
			return ra < rb
		}
		return a.Name < b.Name
	})
	return out
}

// byteCount returns the bytes a tensor takes, or an error where a dimension is negative or the product
// does not fit in 63 bits.
func byteCount(d tensor.DType, shape []int64) (int64, error) {
	n := int64(d.Size())
	for _, dim := range shape {
		if dim < 0 {
			return 0, fmt.Errorf("dimension %d is negative", dim)
		}
		if dim > 0 && n > math.MaxInt64/dim {
			return 0, fmt.Errorf("shape %v has more than 2⁶³ bytes", shape)
		}
		n *= dim
	}
	return n, nil
}
