package tensor

import (
	"fmt"
	"unsafe"
)

// Align is the byte alignment of every tensor's first element: one cache line, one AVX-512 register.
const Align = 64

// Elem is a Go type that some DType is stored as. F16 and BF16 are stored as uint16, Bool as uint8 (0 or 1).
type Elem interface {
	~float32 | ~float64 | ~uint16 | ~int8 | ~uint8 | ~int32 | ~int64
}

// Tensor is a dense row-major array in host memory.
// It is not safe for concurrent use while someone writes.
type Tensor struct {
	DType DType
	Shape Shape
	data  []byte
}

// New returns a zeroed tensor.
func New(d DType, shape ...int) *Tensor {
	return &Tensor{DType: d, Shape: Shape(shape).Clone(), data: AlignedBytes(Shape(shape).Size() * d.Size())}
}

// AlignedBytes returns n zeroed bytes whose first lies on an Align boundary.
func AlignedBytes(n int) []byte {
	raw := make([]byte, n+Align)
	off := int(-uintptr(unsafe.Pointer(unsafe.SliceData(raw))) & (Align - 1))
	return raw[off : off+n : off+n]
}

// FromBytes wraps raw little-endian elements without copying them.
// It returns an error unless len(raw) is exactly what the shape needs.
func FromBytes(d DType, shape Shape, raw []byte) (*Tensor, error) {
	if want := shape.Size() * d.Size(); len(raw) != want {
		return nil, fmt.Errorf("tensor %v%v: %d bytes, expected %d", d, shape, len(raw), want)
	}
	return &Tensor{DType: d, Shape: shape.Clone(), data: raw}, nil
}

// Of returns a tensor that holds a copy of vals; the DType follows from T (uint16 gives BF16).
func Of[T Elem](shape Shape, vals ...T) *Tensor {
	t := New(dtypeOf[T](), shape...)
	if len(vals) != t.Size() {
		panic(fmt.Sprintf("tensor.Of: %d values for shape %v", len(vals), shape))
	}
	copy(Data[T](t), vals)
	return t
}

func dtypeOf[T Elem]() DType {
	var z T
	switch any(z).(type) {
	case float32:
		return F32
	case float64:
		return F64
	case uint16:
		return BF16
	case int8:
		return I8
	case uint8:
		return U8
	case int32:
		return I32
	case int64:
		return I64
	}
	panic(fmt.Sprintf("tensor: no dtype for %T", z))
}

// Size returns the number of elements.
func (t *Tensor) Size() int { return t.Shape.Size() }

// Bytes returns the raw little-endian elements; writing to them changes the tensor.
func (t *Tensor) Bytes() []byte { return t.data }

// Data views the elements as a slice of T without copying. T must have the element's size.
func Data[T Elem](t *Tensor) []T { return View[T](t.data) }

// View reinterprets raw bytes as elements of type T.
func View[T Elem](raw []byte) []T {
	var z T
	if len(raw) == 0 {
		return nil
	}
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(raw))), len(raw)/int(unsafe.Sizeof(z)))
}

// Clone returns a deep copy.
func (t *Tensor) Clone() *Tensor {
	c := New(t.DType, t.Shape...)
	copy(c.data, t.data)
	return c
}

// String prints type and shape, such as f32(2,3).
func (t *Tensor) String() string { return t.DType.String() + t.Shape.String() }
