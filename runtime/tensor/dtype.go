// Package tensor owns shapes, element types, host tensors and counter-based random numbers.
// It knows nothing of graphs, devices or training: every other room builds on it.
package tensor

import "fmt"

// DType is an element type.
type DType uint8

// The element types of ringo. F16 is IEEE 754 binary16, BF16 the upper half of binary32.
const (
	Invalid DType = iota
	F32
	F64
	F16
	BF16
	I8
	U8
	I32
	I64
	Bool
)

// dtypes is the table of element types; row i describes DType(i).
var dtypes = [...]struct {
	name  string
	size  int
	float bool
}{
	Invalid: {"invalid", 0, false},
	F32:     {"f32", 4, true},
	F64:     {"f64", 8, true},
	F16:     {"f16", 2, true},
	BF16:    {"bf16", 2, true},
	I8:      {"i8", 1, false},
	U8:      {"u8", 1, false},
	I32:     {"i32", 4, false},
	I64:     {"i64", 8, false},
	Bool:    {"bool", 1, false},
}

// String returns the short name, such as "bf16".
func (d DType) String() string {
	if int(d) < len(dtypes) {
		return dtypes[d].name
	}
	return fmt.Sprintf("dtype(%d)", uint8(d))
}

// Size returns the bytes one element takes.
func (d DType) Size() int { return dtypes[d].size }

// IsFloat reports whether d holds floating-point numbers.
func (d DType) IsFloat() bool { return int(d) < len(dtypes) && dtypes[d].float }
