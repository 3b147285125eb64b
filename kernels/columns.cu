// Sums down columns, and the end of such sums. The plain version of the sum is reduce.go.
#include "columns.cuh"

template <class T, int W> struct ColumnOf {
  const T *x;
  int64_t cols;
  DEVICE_MEMBER void add(float (&s)[1][W], int n, int col) const {
    float v[W];
    load_run<W>(v, x + n * cols + col);
#pragma unroll
    for (int k = 0; k < W; k++) s[0][k] += v[k];
  }
};

// From partial (stretches, lists, cols): a, and where there are two lists b, each (cols), gets its sums over the stretches divided
// by `count`. A block has 32 columns of one list (blockIdx.y); each of its lines adds every 32nd stretch, then the lines are added in
// order.
#define JOIN_LINES 32
template <class P> DEVICE void columns_join(const float *partial, P *a, P *b, int cols, int stretches, int lists, float count) {
  __shared__ float part[JOIN_LINES][COLUMN_LANES];
  int lane = threadIdx.x % COLUMN_LANES, line = threadIdx.x / COLUMN_LANES, col = blockIdx.x * COLUMN_LANES + lane, l = blockIdx.y;
  float s = 0.f;
  if (col < cols) {
#pragma unroll 8
    for (int k = line; k < stretches; k += JOIN_LINES) s += partial[((int64_t)k * lists + l) * cols + col];
  }
  part[line][lane] = s;
  __syncthreads();
  if (line > 0 || col >= cols) return;
  s = 0.f;
#pragma unroll
  for (int k = 0; k < JOIN_LINES; k++) s += part[k][lane];
  (l ? b : a)[col] = from_float<P>(s / count);
}

#define COLUMNS(suffix, T)                                                                                             \
  KERNEL(column_sums_##suffix, COLUMN_THREADS, (const T *x, float *partial, int rows, int cols, int stretch, int packed)) { \
    if (packed) {                                                                                                      \
      ColumnOf<T, Pack<T>::n> f = {x, cols};                                                                           \
      column_sums<1, Pack<T>::n>(f, partial, rows, cols, stretch);                                                     \
    } else {                                                                                                           \
      ColumnOf<T, 1> f = {x, cols};                                                                                    \
      column_sums<1, 1>(f, partial, rows, cols, stretch);                                                              \
    }                                                                                                                  \
  }                                                                                                                    \
  KERNEL(columns_join_##suffix, JOIN_LINES *COLUMN_LANES, (const float *partial, T *a, T *b, int cols, int stretches,   \
                                                           int lists, float count)) {                                 \
    columns_join<T>(partial, a, b, cols, stretches, lists, count);                                                     \
  }
COLUMNS(f32, float)
COLUMNS(bf16, bf16)
