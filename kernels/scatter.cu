// scatter_add: updates are combined with what stands at their place, in order. The plain version is scatterRef of index.go.
// Elements that share a place lie in one line along the axis, so one thread walks a line: no atomics, one order.
#include "broadcast.cuh"
#include "words.cuh"

#define SCATTER_THREADS 256

enum ScatterMode { kAdd, kSet, kMul, kMax, kMin }; // numbered as scatterModes of scatter_cuda.go

DEVICE float scatter_sum(float a, float b) { return a + b; }
DEVICE int scatter_sum(int a, int b) { return (int)((unsigned)a + (unsigned)b); }
DEVICE int64_t scatter_sum(int64_t a, int64_t b) { return (int64_t)((uint64_t)a + (uint64_t)b); }
DEVICE float scatter_product(float a, float b) { return a * b; }
DEVICE int scatter_product(int a, int b) { return (int)((unsigned)a * (unsigned)b); }
DEVICE int64_t scatter_product(int64_t a, int64_t b) { return (int64_t)((uint64_t)a * (uint64_t)b); }

// A NaN of either side stays.
template <class A> DEVICE A scatter_join(int mode, A x, A u) {
  switch (mode) {
  case kAdd: return scatter_sum(x, u);
  case kMul: return scatter_product(x, u);
  case kMax: return x > u || x != x ? x : u;
  case kMin: return x < u || x != x ? x : u;
  }
  return u;
}

DEVICE float scatter_load(const float *p, int64_t i) { return p[i]; }
DEVICE float scatter_load(const bf16 *p, int64_t i) { return to_float(p[i]); }
DEVICE int scatter_load(const int *p, int64_t i) { return p[i]; }
DEVICE int64_t scatter_load(const int64_t *p, int64_t i) { return p[i]; }

// y, which holds x, takes the updates; the nest walks the lines of ids: operand 0 in ids and updates, 1 in y. Along the
// axis, ids have `count` elements own apart, and y n elements step apart.
template <class U, class A, class I>
DEVICE void scatter(A *y, const I *ids, const U *updates, const Broadcast<2> &p, int64_t count, int64_t own, int64_t n, int64_t step, int mode) {
  for (int64_t line = first_index(); line < p.n; line += index_stride()) {
    int64_t at[2];
    offsets<uint64_t, 2>(p, line, at);
    for (int64_t k = 0; k < count; k++) {
      int64_t i = at[0] + k * own, id = ids[i];
      if (id < 0) id += n;
      if (id < 0 || id >= n) continue;
      A *to = y + at[1] + id * step;
      *to = scatter_join<A>(mode, *to, scatter_load(updates, i));
    }
  }
}

#define SCATTER(suffix, U, A)                                                                                           \
  KERNEL(scatter_##suffix##_i32, SCATTER_THREADS, (A *y, const int *ids, const U *updates, Broadcast<2> p,              \
                                                   int64_t count, int64_t own, int64_t n, int64_t step, int mode)) {    \
    scatter<U, A, int>(y, ids, updates, p, count, own, n, step, mode);                                                  \
  }                                                                                                                     \
  KERNEL(scatter_##suffix##_i64, SCATTER_THREADS, (A *y, const int64_t *ids, const U *updates, Broadcast<2> p,          \
                                                   int64_t count, int64_t own, int64_t n, int64_t step, int mode)) {    \
    scatter<U, A, int64_t>(y, ids, updates, p, count, own, n, step, mode);                                              \
  }

SCATTER(f32, float, float)
SCATTER(bf16, bf16, float) // sums of bf16 in a copy in f32
SCATTER(i32, int, int)
SCATTER(i64, int64_t, int64_t)
