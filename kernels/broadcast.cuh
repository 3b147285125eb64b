// Index arithmetic of loops over an output and inputs that stretch to it, and the element-wise walk over them.
#pragma once
#include "device.cuh"

#define BROADCAST_AXES 8

// Broadcast<operands> is a collapsed loop nest in row-major order: sizes of the axes and, per operand, the elements
// between neighbours along each. Inner strides are 0 or 1. It is laid out as broadcastArgs of elementwise_cuda.go.
template <int operands> struct Broadcast {
  int64_t n; // iterations
  int axes;
  int packed; // rows are whole packs: whole packs may be moved
  int dims[BROADCAST_AXES];
  int64_t strides[operands][BROADCAST_AXES];
};

// offsets returns each operand's element for iteration i. Index is unsigned where n allows: 64-bit division is slow.
template <class Index, int operands>
DEVICE void offsets(const Broadcast<operands> &p, int64_t i, int64_t at[operands]) {
  Index rest = (Index)i;
#pragma unroll
  for (int o = 0; o < operands; o++) at[o] = 0;
#pragma unroll
  for (int a = BROADCAST_AXES - 1; a > 0; a--)
    if (a < p.axes) {
      Index q = rest / (Index)p.dims[a], r = rest - q * (Index)p.dims[a];
      rest = q;
#pragma unroll
      for (int o = 0; o < operands; o++) at[o] += (int64_t)r * p.strides[o][a];
    }
#pragma unroll
  for (int o = 0; o < operands; o++) at[o] += (int64_t)rest * p.strides[o][0];
}

// load_stretched reads a pack along the inner axis, or one element for all of it where the operand is stretched there.
template <class T> DEVICE Pack<T> load_stretched(const T *x, int64_t at, int64_t stride) {
  if (stride) return load_pack(x + at);
  Pack<T> v;
  T one = x[at];
#pragma unroll
  for (int k = 0; k < Pack<T>::n; k++) v.v[k] = one;
  return v;
}

// binary_walk: y[i] = F::f(a[…], b[…]). One access of 16 bytes per operand where rows are whole packs; 3·16 bytes per thread
// and a few integer instructions: bound by memory. y may be a or b where shapes agree.
template <class T, class F, class Index> DEVICE void binary_walk(const T *a, const T *b, T *y, const Broadcast<2> &p) {
  const int width = Pack<T>::n;
  int64_t at[2], packs = p.packed ? p.n / width : 0;
  int inner = p.axes - 1;
  for (int64_t i = first_index(); i < packs; i += index_stride()) {
    offsets<Index, 2>(p, i * width, at);
    Pack<T> u = load_stretched(a, at[0], p.strides[0][inner]), v = load_stretched(b, at[1], p.strides[1][inner]);
#pragma unroll
    for (int k = 0; k < width; k++) u.v[k] = F::f(u.v[k], v.v[k]);
    store_pack(y + i * width, u);
  }
  for (int64_t i = packs * width + first_index(); i < p.n; i += index_stride()) {
    offsets<Index, 2>(p, i, at);
    y[i] = F::f(a[at[0]], b[at[1]]);
  }
}

template <class T, class F> DEVICE void binary(const T *a, const T *b, T *y, const Broadcast<2> &p) {
  if (p.n <= 0x7fffffff)
    binary_walk<T, F, unsigned>(a, b, y, p);
  else
    binary_walk<T, F, uint64_t>(a, b, y, p);
}
