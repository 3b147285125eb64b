// The largest element along an axis, and the k largest. The plain version is reduce.go. The order: larger first, NaN before
// all, of equals the lower index; a warp per line.
#include "reduce.cuh"

#define SELECT_THREADS 256

DEVICE float comparable(float x) { return x; }
DEVICE float comparable(bf16 x) { return to_float(x); }
DEVICE int comparable(int x) { return x; }
DEVICE int64_t comparable(int64_t x) { return x; }

template <class A> DEVICE bool before(A a, A b) { return a > b || (a != a && b == b); }

// Candidate is an element and its index; none has index −1.
template <class A> struct Candidate {
  A v;
  int64_t at;
};

// ahead: whether (a, i) comes before (b, j); smallest turns the values' order, last that of the indices.
template <class A> DEVICE bool ahead(A a, int64_t i, A b, int64_t j, int smallest, int last) {
  if (smallest ? before(b, a) : before(a, b)) return true;
  if (smallest ? before(a, b) : before(b, a)) return false;
  return last ? i > j : i < j;
}

// warp_best gives every lane the first of the lanes' candidates.
template <class A> DEVICE Candidate<A> warp_best(Candidate<A> c, int smallest, int last) {
#pragma unroll
  for (int o = 16; o > 0; o >>= 1) {
    Candidate<A> other = {__shfl_xor_sync(ALL_LANES, c.v, o), __shfl_xor_sync(ALL_LANES, c.at, o)};
    if (other.at >= 0 && (c.at < 0 || ahead(other.v, other.at, c.v, c.at, smallest, last))) c = other;
  }
  return c;
}

// x (outer,n,inner) → values and indices (outer,k,inner), best first: k rounds, each taking the first of those behind the
// last one taken. values may be null.
template <class T, class A>
DEVICE void select(const T *x, T *values, int64_t *indices, int64_t lines, int64_t n, int64_t inner, int64_t k, int smallest, int last) {
  int64_t line = first_index() / 32;
  int lane = threadIdx.x % 32;
  if (line >= lines) return; // whole warps
  int64_t o = line / inner, i = line - o * inner;
  const T *in = x + o * n * inner + i;
  Candidate<A> taken = {A(), -1};
  for (int64_t round = 0; round < k; round++) {
    Candidate<A> best = {A(), -1};
    for (int64_t at = lane; at < n; at += 32) {
      A v = comparable(in[at * inner]);
      bool left = taken.at < 0 || ahead(taken.v, taken.at, v, at, smallest, last);
      if (left && (best.at < 0 || ahead(v, at, best.v, best.at, smallest, last))) {
        best.v = v;
        best.at = at;
      }
    }
    taken = warp_best(best, smallest, last);
    if (lane == 0) {
      int64_t to = (o * k + round) * inner + i;
      if (values) values[to] = in[taken.at * inner];
      indices[to] = taken.at;
    }
  }
}

#define SELECT(suffix, T, A)                                                                                        \
  KERNEL(select_##suffix, SELECT_THREADS, (const T *x, T *values, int64_t *indices, int64_t lines, int64_t n,       \
                                           int64_t inner, int64_t k, int smallest, int last)) {                     \
    select<T, A>(x, values, indices, lines, n, inner, k, smallest, last);                                           \
  }
SELECT(f32, float, float)
SELECT(bf16, bf16, float)
SELECT(i32, int, int)
SELECT(i64, int64_t, int64_t)
