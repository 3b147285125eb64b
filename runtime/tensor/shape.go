package tensor

import (
	"fmt"
	"strconv"
	"strings"
)

// Shape lists a tensor's dimensions, outermost first; the empty shape is a scalar.
// Data lies in row-major order without gaps.
type Shape []int

// Size returns the number of elements.
func (s Shape) Size() int {
	n := 1
	for _, d := range s {
		n *= d
	}
	return n
}

// Equal reports whether both shapes have the same dimensions.
func (s Shape) Equal(t Shape) bool {
	if len(s) != len(t) {
		return false
	}
	for i := range s {
		if s[i] != t[i] {
			return false
		}
	}
	return true
}

// Clone returns a copy that shares nothing with s.
func (s Shape) Clone() Shape { return append(Shape{}, s...) }

// String prints (2,3); a scalar is ().
func (s Shape) String() string {
	parts := make([]string, len(s))
	for i, d := range s {
		parts[i] = strconv.Itoa(d)
	}
	return "(" + strings.Join(parts, ",") + ")"
}

// Strides returns, per dimension, the elements between neighbours along it.
func (s Shape) Strides() []int {
	st := make([]int, len(s))
	n := 1
	for i := len(s) - 1; i >= 0; i-- {
		st[i] = n
		n *= s[i]
	}
	return st
}

// Axis maps an axis that may count from the end (−1 is the last) to 0…rank−1.
func (s Shape) Axis(a int) (int, error) {
	if a < -len(s) || a >= len(s) {
		return 0, fmt.Errorf("axis %d is outside shape %v", a, s)
	}
	if a < 0 {
		a += len(s)
	}
	return a, nil
}

// Broadcast returns the shape both operands stretch to by NumPy's rule: aligned at the last
// dimension, sizes must be equal or one of them 1.
func Broadcast(a, b Shape) (Shape, error) {
	n := max(len(a), len(b))
	out := make(Shape, n)
	for i := 1; i <= n; i++ {
		da, db := 1, 1
		if i <= len(a) {
			da = a[len(a)-i]
		}
		if i <= len(b) {
			db = b[len(b)-i]
		}
		switch {
		case da == db || db == 1:
			out[n-i] = da
		case da == 1:
			out[n-i] = db
		default:
			return nil, fmt.Errorf("shapes %v and %v do not broadcast: %d ≠ %d", a, b, da, db)
		}
	}
	return out, nil
}
