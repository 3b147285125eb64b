// RMS norm over the last axis of x (N,C), with the saved 1/root-mean-square. The plain version is norm.go. Bound by memory, as
// layernorm.cu.
#include "columns.cuh"

#define RMS_THREADS 256

// One block per row: y = x·rstd·gain. With res, x + res is stored in sum first and normalised; y may be x.
template <class T, class P, int W>
DEVICE void rmsnorm(const T *x, const T *res, const P *gain, T *sum, T *y, float *rstd, int cols, float eps) {
  __shared__ float scratch[MAX_WARPS];
  int64_t at = (int64_t)blockIdx.x * cols;
  int step = blockDim.x * W;
  float s = 0.f;
  for (int i = threadIdx.x * W; i < cols; i += step) {
    float v[W];
    load_run<W>(v, x + at + i);
    if (res) {
      add_run<W>(v, res + at + i);
      store_run<W>(sum + at + i, v);
      round_run<W, T>(v);
    }
#pragma unroll
    for (int k = 0; k < W; k++) s += v[k] * v[k];
  }
  const T *row = res ? sum + at : x + at;
  float r = 1.f / sqrtf(block_sum(s, scratch) / cols + eps);
  for (int i = threadIdx.x * W; i < cols; i += step) {
    float v[W], g[W];
    load_run<W>(v, row + i);
    load_run<W>(g, gain + i);
#pragma unroll
    for (int k = 0; k < W; k++) v[k] *= r * g[k];
    store_run<W>(y + at + i, v);
  }
  if (threadIdx.x == 0) rstd[blockIdx.x] = r;
}

// One block per row, with x̂ = x·rstd and w = dy·gain: dx = rstd·(w − x̂·mean(w·x̂)) [+ dres]; dx may be dy or x.
template <class T, class P, int W>
DEVICE void rmsnorm_dx(const T *dy, const T *x, const P *gain, const float *rstd, const T *dres, T *dx, int cols) {
  __shared__ float scratch[MAX_WARPS];
  int64_t at = (int64_t)blockIdx.x * cols;
  int step = blockDim.x * W;
  float r = rstd[blockIdx.x], s = 0.f;
  for (int i = threadIdx.x * W; i < cols; i += step) {
    float d[W], v[W], g[W];
    load_run<W>(d, dy + at + i);
    load_run<W>(v, x + at + i);
    load_run<W>(g, gain + i);
#pragma unroll
    for (int k = 0; k < W; k++) s += d[k] * g[k] * v[k] * r;
  }
  s = block_sum(s, scratch) / cols;
  for (int i = threadIdx.x * W; i < cols; i += step) {
    float d[W], v[W], g[W];
    load_run<W>(d, dy + at + i);
    load_run<W>(v, x + at + i);
    load_run<W>(g, gain + i);
#pragma unroll
    for (int k = 0; k < W; k++) d[k] = r * (d[k] * g[k] - v[k] * r * s);
    if (dres) add_run<W>(d, dres + at + i);
    store_run<W>(dx + at + i, d);
  }
}

// Terms of dgain = Σ dy·x̂.
template <class T, int W> struct RMSTerms {
  const T *dy, *x;
  const float *rstd;
  int64_t cols;
  DEVICE_MEMBER void add(float (&s)[1][W], int n, int col) const {
    float d[W], v[W], r = rstd[n];
    load_run<W>(d, dy + n * cols + col);
    load_run<W>(v, x + n * cols + col);
#pragma unroll
    for (int k = 0; k < W; k++) s[0][k] += d[k] * v[k] * r;
  }
};

#define RMS_KERNELS(suffix, T, P)                                                                                      \
  KERNEL(rmsnorm_##suffix, RMS_THREADS, (const T *x, const T *res, const P *gain, T *sum, T *y, float *rstd, int cols, \
                                         float eps, int packed)) {                                                     \
    if (packed)                                                                                                        \
      rmsnorm<T, P, Pack<T>::n>(x, res, gain, sum, y, rstd, cols, eps);                                                \
    else                                                                                                               \
      rmsnorm<T, P, 1>(x, res, gain, sum, y, rstd, cols, eps);                                                         \
  }                                                                                                                    \
  KERNEL(rmsnorm_dx_##suffix, RMS_THREADS, (const T *dy, const T *x, const P *gain, const float *rstd, const T *dres,  \
                                            T *dx, int cols, int packed)) {                                            \
    if (packed)                                                                                                        \
      rmsnorm_dx<T, P, Pack<T>::n>(dy, x, gain, rstd, dres, dx, cols);                                                 \
    else                                                                                                               \
      rmsnorm_dx<T, P, 1>(dy, x, gain, rstd, dres, dx, cols);                                                          \
  }
RMS_KERNELS(f32_f32, float, float)
RMS_KERNELS(bf16_f32, bf16, float)
RMS_KERNELS(bf16_bf16, bf16, bf16)

#define RMS_PARTIAL(suffix, T)                                                                                         \
  KERNEL(rmsnorm_dparams_##suffix, COLUMN_THREADS, (const T *dy, const T *x, const float *rstd, float *partial,        \
                                                    int rows, int cols, int stretch, int packed)) {                    \
    if (packed) {                                                                                                      \
      RMSTerms<T, Pack<T>::n> f = {dy, x, rstd, cols};                                                                 \
      column_sums<1, Pack<T>::n>(f, partial, rows, cols, stretch);                                                     \
    } else {                                                                                                           \
      RMSTerms<T, 1> f = {dy, x, rstd, cols};                                                                          \
      column_sums<1, 1>(f, partial, rows, cols, stretch);                                                              \
    }                                                                                                                  \
  }
RMS_PARTIAL(f32, float)
RMS_PARTIAL(bf16, bf16)
