package kernels

import (
	"slices"

	"ringo/runtime/tensor"
)

// nest is a loop over several operands, innermost axis last; strides are in elements, one list per operand.
type nest struct {
	dims    []int
	strides [][]int
}

// collapse drops axes of size 1 and merges neighbours that every operand walks as one, so that kernels see few
// axes with long rows. At least one axis remains.
func (n nest) collapse() nest {
	var out nest
	out.strides = make([][]int, len(n.strides))
	for a, d := range n.dims {
		if d == 1 {
			continue
		}
		last := len(out.dims) - 1
		if last >= 0 && n.joins(a, out) {
			out.dims[last] *= d
			for o := range out.strides {
				out.strides[o][last] = n.strides[o][a]
			}
			continue
		}
		out.dims = append(out.dims, d)
		for o := range out.strides {
			out.strides[o] = append(out.strides[o], n.strides[o][a])
		}
	}
	if len(out.dims) == 0 {
		out.dims = []int{1}
		for o := range out.strides {
			out.strides[o] = []int{1}
		}
	}
	return out
}

// joins reports whether, for every operand, a step along out's last axis is a whole run of axis a.
func (n nest) joins(a int, out nest) bool {
	for o := range n.strides {
		if s := out.strides[o]; s[len(s)-1] != n.strides[o][a]*n.dims[a] {
			return false
		}
	}
	return true
}

// size is the number of iterations.
func (n nest) size() int { return tensor.Shape(n.dims).Size() }

// broadcastNest is the loop over an output and the inputs that stretch to it.
func broadcastNest(out tensor.Shape, in ...View) nest {
	n := nest{slices.Clone([]int(out)), [][]int{out.Strides()}}
	for _, v := range in {
		n.strides = append(n.strides, broadcastStrides(v.Shape, out))
	}
	return n.collapse()
}
