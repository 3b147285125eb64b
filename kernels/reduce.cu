// Reductions over any axes: sum, mean, prod, max, min. The plain version is reduce.go. Long sums are cut into stretches by
// shape alone, whose partial results a second kernel joins in order.
#include "broadcast.cuh"
#include "reduce.cuh"

#define REDUCE_THREADS 256

// The kept axes and the reduced axes of x as two nests, laid out as reductionArgs of reduce_cuda.go.
struct Reduction {
  Broadcast<1> kept, reduced;
  int64_t stretch, stretches; // reduced elements per partial result, and how many those are
};

template <class T> struct Limits;
template <> struct Limits<float> {
  static DEVICE_MEMBER float least() { return -INFINITY; }
  static DEVICE_MEMBER float most() { return INFINITY; }
};
template <> struct Limits<bf16> : Limits<float> {};
template <> struct Limits<int> {
  static DEVICE_MEMBER int64_t least() { return -2147483647LL - 1; }
  static DEVICE_MEMBER int64_t most() { return 2147483647LL; }
};
template <> struct Limits<int64_t> {
  static DEVICE_MEMBER int64_t least() { return -9223372036854775807LL - 1; }
  static DEVICE_MEMBER int64_t most() { return 9223372036854775807LL; }
};

// Each functor is one op; integers wrap around, a NaN of either side stays.
struct Adds {
  template <class T, class A> static DEVICE_MEMBER A identity() { return 0; }
  static DEVICE_MEMBER float join(float a, float b) { return a + b; }
  static DEVICE_MEMBER int64_t join(int64_t a, int64_t b) { return (int64_t)((uint64_t)a + (uint64_t)b); }
};
struct Multiplies {
  template <class T, class A> static DEVICE_MEMBER A identity() { return 1; }
  static DEVICE_MEMBER float join(float a, float b) { return a * b; }
  static DEVICE_MEMBER int64_t join(int64_t a, int64_t b) { return (int64_t)((uint64_t)a * (uint64_t)b); }
};
struct Largest {
  template <class T, class A> static DEVICE_MEMBER A identity() { return Limits<T>::least(); }
  template <class A> static DEVICE_MEMBER A join(A a, A b) { return a > b || a != a ? a : b; }
};
struct Smallest {
  template <class T, class A> static DEVICE_MEMBER A identity() { return Limits<T>::most(); }
  template <class A> static DEVICE_MEMBER A join(A a, A b) { return a < b || a != a ? a : b; }
};

DEVICE float widen(float x) { return x; }
DEVICE float widen(bf16 x) { return to_float(x); }
DEVICE int64_t widen(int x) { return x; }
DEVICE int64_t widen(int64_t x) { return x; }

template <class T> struct Narrow { // integers: the mean truncates
  static DEVICE_MEMBER T of(int64_t x, int64_t count) { return (T)(count > 0 ? x / count : x); }
};
template <> struct Narrow<float> {
  static DEVICE_MEMBER float of(float x, int64_t count) { return count >= 0 ? x / (float)count : x; }
};
template <> struct Narrow<bf16> {
  static DEVICE_MEMBER bf16 of(float x, int64_t count) { return float_to_bf16(Narrow<float>::of(x, count)); }
};

template <class Op, class A> DEVICE A warp_join(A v) {
#pragma unroll
  for (int o = 16; o > 0; o >>= 1) v = Op::join(v, __shfl_xor_sync(ALL_LANES, v, o));
  return v;
}

DEVICE int64_t place(const Broadcast<1> &p, int64_t i) {
  int64_t at[1];
  if (p.n <= 0x7fffffff)
    offsets<unsigned, 1>(p, i, at);
  else
    offsets<uint64_t, 1>(p, i, at);
  return at[0];
}

// A warp per partial result, its lanes along the reduced axes: for reductions over the last axis. part (stretches, kept).
template <class T, class A, class Op> DEVICE void reduce_rows(const T *x, A *part, const Reduction &p) {
  int64_t i = first_index() / 32, n = p.kept.n * p.stretches;
  int lane = threadIdx.x % 32;
  if (i >= n) return; // whole warps
  int64_t s = i / p.kept.n, k = i - s * p.kept.n, base = place(p.kept, k);
  int64_t from = s * p.stretch, to = from + p.stretch < p.reduced.n ? from + p.stretch : p.reduced.n;
  A v = Op::template identity<T, A>();
  for (int64_t r = from + lane; r < to; r += 32) v = Op::join(v, (A)widen(x[base + place(p.reduced, r)]));
  v = warp_join<Op, A>(v);
  if (lane == 0) part[i] = v;
}

// A thread per partial result, neighbours along the kept last axis.
template <class T, class A, class Op> DEVICE void reduce_cols(const T *x, A *part, const Reduction &p) {
  int64_t n = p.kept.n * p.stretches;
  for (int64_t i = first_index(); i < n; i += index_stride()) {
    int64_t s = i / p.kept.n, k = i - s * p.kept.n, base = place(p.kept, k);
    int64_t from = s * p.stretch, to = from + p.stretch < p.reduced.n ? from + p.stretch : p.reduced.n;
    A v = Op::template identity<T, A>();
    for (int64_t r = from; r < to; r++) v = Op::join(v, (A)widen(x[base + place(p.reduced, r)]));
    part[i] = v;
  }
}

// A warp per result joins its partial results; count ≥ 0 divides (for integers > 0).
template <class T, class A, class Op> DEVICE void reduce_end(const A *part, T *y, int64_t kept, int64_t stretches, int64_t count) {
  int64_t k = first_index() / 32;
  int lane = threadIdx.x % 32;
  if (k >= kept) return;
  A v = Op::template identity<T, A>();
  for (int64_t s = lane; s < stretches; s += 32) v = Op::join(v, part[s * kept + k]);
  v = warp_join<Op, A>(v);
  if (lane == 0) y[k] = Narrow<T>::of(v, count);
}

#define REDUCE(op, Op, suffix, T, A)                                                                                  \
  KERNEL(reduce_rows_##op##_##suffix, REDUCE_THREADS, (const T *x, A *part, Reduction p)) {                           \
    reduce_rows<T, A, Op>(x, part, p);                                                                                \
  }                                                                                                                   \
  KERNEL(reduce_cols_##op##_##suffix, REDUCE_THREADS, (const T *x, A *part, Reduction p)) {                           \
    reduce_cols<T, A, Op>(x, part, p);                                                                                \
  }                                                                                                                   \
  KERNEL(reduce_end_##op##_##suffix, REDUCE_THREADS, (const A *part, T *y, int64_t kept, int64_t stretches, int64_t count)) { \
    reduce_end<T, A, Op>(part, y, kept, stretches, count);                                                            \
  }
#define REDUCES(op, Op)                                                                                               \
  REDUCE(op, Op, f32, float, float)                                                                                   \
  REDUCE(op, Op, bf16, bf16, float) REDUCE(op, Op, i32, int, int64_t) REDUCE(op, Op, i64, int64_t, int64_t)
REDUCES(sum, Adds)
REDUCES(prod, Multiplies)
REDUCES(max, Largest)
REDUCES(min, Smallest)

// dx = dy·∏ of the other elements, right at zeros too: a thread per line, the product of those before, then of those after.
template <class T> DEVICE void prod_grad(const T *x, const T *dy, T *dx, float *before, const Reduction &p) {
  for (int64_t k = first_index(); k < p.kept.n; k += index_stride()) {
    int64_t base = place(p.kept, k);
    float d = to_float(dy[k]), product = 1.f;
    for (int64_t r = 0; r < p.reduced.n; r++) {
      int64_t at = base + place(p.reduced, r);
      before[at] = product;
      product *= to_float(x[at]);
    }
    product = 1.f;
    for (int64_t r = p.reduced.n - 1; r >= 0; r--) {
      int64_t at = base + place(p.reduced, r);
      dx[at] = from_float<T>(d * before[at] * product);
      product *= to_float(x[at]);
    }
  }
}
KERNEL(prod_grad_f32, REDUCE_THREADS, (const float *x, const float *dy, float *dx, float *before, Reduction p)) {
  prod_grad<float>(x, dy, dx, before, p);
}
KERNEL(prod_grad_bf16, REDUCE_THREADS, (const bf16 *x, const bf16 *dy, bf16 *dx, float *before, Reduction p)) {
  prod_grad<bf16>(x, dy, dx, before, p);
}
