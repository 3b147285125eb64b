// Dropout by a counter-based generator: the mask is a function of seed, step, lane, key and place. The plain version is
// dropout.go; the row in runtime/graph/dropout.go defines the counters.
#include "philox.cuh"

#define DROPOUT_THREADS 256

// y = word>>8 ≥ threshold ? x·scale : 0, four elements per block of the generator; rng is seed, step, lane. y may be x.
template <class T>
DEVICE void dropout(const T *x, const int64_t *rng, T *y, int64_t n, unsigned key, unsigned threshold, float scale) {
  uint64_t seed = (uint64_t)rng[0];
  unsigned step = (unsigned)rng[1], lane = (unsigned)rng[2];
  for (int64_t i = first_index(); i * 4 < n; i += index_stride()) {
    unsigned c[4] = {(unsigned)i, lane, step, key};
    philox(c, (unsigned)seed, (unsigned)(seed >> 32));
#pragma unroll
    for (int k = 0; k < 4; k++)
      if (i * 4 + k < n) y[i * 4 + k] = from_float<T>(c[k] >> 8 >= threshold ? to_float(x[i * 4 + k]) * scale : 0.f);
  }
}

#define DROPOUT(suffix, T)                                                                                          \
  KERNEL(dropout_##suffix, DROPOUT_THREADS, (const T *x, const int64_t *rng, T *y, int64_t n, unsigned key,         \
                                             unsigned threshold, float scale)) {                                    \
    dropout<T>(x, rng, y, n, key, threshold, scale);                                                                \
  }
DROPOUT(f32, float)
DROPOUT(bf16, bf16)
