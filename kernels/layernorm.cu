// Layer norm over the last axis of x (N,C), with saved statistics. The plain version is norm.go. Bound by memory: rows are read
// once from memory and again from the first-level cache, by whole packs where C allows.
#include "columns.cuh"

#define NORM_THREADS 256

// One block per row: y = (x − mean)·rstd·gain + bias, mean and rstd (N). With res, x + res is stored in sum first and
// normalised; y may be x.
template <class T, class P, int W>
DEVICE void layernorm(const T *x, const T *res, const P *gain, const P *bias, T *sum, T *y, float *mean, float *rstd, int cols, float eps) {
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
    for (int k = 0; k < W; k++) s += v[k];
  }
  const T *row = res ? sum + at : x + at;
  float m = block_sum(s, scratch) / cols;
  s = 0.f;
  for (int i = threadIdx.x * W; i < cols; i += step) {
    float v[W];
    load_run<W>(v, row + i);
#pragma unroll
    for (int k = 0; k < W; k++) s += (v[k] - m) * (v[k] - m);
  }
  float r = 1.f / sqrtf(block_sum(s, scratch) / cols + eps);
  for (int i = threadIdx.x * W; i < cols; i += step) {
    float v[W], g[W], b[W];
    load_run<W>(v, row + i);
    load_run<W>(g, gain + i);
    load_run<W>(b, bias + i);
#pragma unroll
    for (int k = 0; k < W; k++) v[k] = (v[k] - m) * r * g[k] + b[k];
    store_run<W>(y + at + i, v);
  }
  if (threadIdx.x == 0) {
    mean[blockIdx.x] = m;
    rstd[blockIdx.x] = r;
  }
}

// One block per row, with x̂ = (x − mean)·rstd and w = dy·gain:
// dx = rstd·(w − mean(w) − x̂·mean(w·x̂)) [+ dres]; dx may be dy or x.
template <class T, class P, int W>
DEVICE void layernorm_dx(const T *dy, const T *x, const P *gain, const float *mean, const float *rstd, const T *dres, T *dx, int cols) {
  __shared__ float scratch[MAX_WARPS];
  int64_t at = (int64_t)blockIdx.x * cols;
  int step = blockDim.x * W;
  float m = mean[blockIdx.x], r = rstd[blockIdx.x], sw = 0.f, swx = 0.f;
  for (int i = threadIdx.x * W; i < cols; i += step) {
    float d[W], v[W], g[W];
    load_run<W>(d, dy + at + i);
    load_run<W>(v, x + at + i);
    load_run<W>(g, gain + i);
#pragma unroll
    for (int k = 0; k < W; k++) {
      float w = d[k] * g[k];
      sw += w;
      swx += w * (v[k] - m) * r;
    }
  }
  sw = block_sum(sw, scratch) / cols;
  swx = block_sum(swx, scratch) / cols;
  for (int i = threadIdx.x * W; i < cols; i += step) {
    float d[W], v[W], g[W];
    load_run<W>(d, dy + at + i);
    load_run<W>(v, x + at + i);
    load_run<W>(g, gain + i);
#pragma unroll
    for (int k = 0; k < W; k++) d[k] = r * (d[k] * g[k] - sw - (v[k] - m) * r * swx);
    if (dres) add_run<W>(d, dres + at + i);
    store_run<W>(dx + at + i, d);
  }
}

// All three gradients in one pass, for rows that a block holds at one pack per thread: a block takes a stretch of rows and leaves
// its Σ dy·x̂ and Σ dy in partial (stretches, 2, cols). dx may be dy or x.
template <class T, class P>
DEVICE void layernorm_grad(const T *dy, const T *x, const P *gain, const float *mean, const float *rstd, const T *dres, T *dx, float *partial,
                           int rows, int cols, int stretch) {
  const int W = Pack<T>::n;
  __shared__ float scratch[2 * MAX_WARPS];
  int col = threadIdx.x * W, from = blockIdx.x * stretch, to = min(from + stretch, rows);
  bool mine = col < cols;
  float g[W], dgain[W], dbias[W];
#pragma unroll
  for (int k = 0; k < W; k++) g[k] = dgain[k] = dbias[k] = 0.f;
  if (mine) load_run<W>(g, gain + col);
  for (int n = from; n < to; n++) {
    int64_t at = (int64_t)n * cols + col;
    float d[W], v[W], r = rstd[n], m = mean[n], sw = 0.f, swx = 0.f;
    if (mine) {
      load_run<W>(d, dy + at);
      load_run<W>(v, x + at);
#pragma unroll
      for (int k = 0; k < W; k++) {
        v[k] = (v[k] - m) * r;
        dgain[k] += d[k] * v[k];
        dbias[k] += d[k];
        d[k] *= g[k];
        sw += d[k];
        swx += d[k] * v[k];
      }
    }
    block_sum_pair(sw, swx, scratch);
    if (!mine) continue;
#pragma unroll
    for (int k = 0; k < W; k++) d[k] = r * (d[k] - sw / cols - v[k] * (swx / cols));
    if (dres) add_run<W>(d, dres + at);
    store_run<W>(dx + at, d);
  }
  if (!mine) return;
  store_run<W>(partial + 2 * (int64_t)blockIdx.x * cols + col, dgain);
  store_run<W>(partial + (2 * (int64_t)blockIdx.x + 1) * cols + col, dbias);
}

// Terms of dgain = Σ dy·x̂ and dbias = Σ dy.
template <class T, int W> struct NormTerms {
  const T *dy, *x;
  const float *mean, *rstd;
  int64_t cols;
  DEVICE_MEMBER void add(float (&s)[2][W], int n, int col) const {
    float d[W], v[W], m = mean[n], r = rstd[n];
    load_run<W>(d, dy + n * cols + col);
    load_run<W>(v, x + n * cols + col);
#pragma unroll
    for (int k = 0; k < W; k++) {
      s[0][k] += d[k] * (v[k] - m) * r;
      s[1][k] += d[k];
    }
  }
};

// T is the type of activations, P that of parameters: bf16 activations come with bf16 or f32 parameters.
#define NORM_KERNELS(suffix, T, P)                                                                                     \
  KERNEL(layernorm_##suffix, NORM_THREADS, (const T *x, const T *res, const P *gain, const P *bias, T *sum, T *y,      \
                                            float *mean, float *rstd, int cols, float eps, int packed)) {              \
    if (packed)                                                                                                        \
      layernorm<T, P, Pack<T>::n>(x, res, gain, bias, sum, y, mean, rstd, cols, eps);                                  \
    else                                                                                                               \
      layernorm<T, P, 1>(x, res, gain, bias, sum, y, mean, rstd, cols, eps);                                           \
  }                                                                                                                    \
  KERNEL(layernorm_dx_##suffix, NORM_THREADS, (const T *dy, const T *x, const P *gain, const float *mean,              \
                                               const float *rstd, const T *dres, T *dx, int cols, int packed)) {       \
    if (packed)                                                                                                        \
      layernorm_dx<T, P, Pack<T>::n>(dy, x, gain, mean, rstd, dres, dx, cols);                                         \
    else                                                                                                               \
      layernorm_dx<T, P, 1>(dy, x, gain, mean, rstd, dres, dx, cols);                                                  \
  }                                                                                                                    \
  KERNEL(layernorm_grad_##suffix, NORM_THREADS, (const T *dy, const T *x, const P *gain, const float *mean,            \
                                                 const float *rstd, const T *dres, T *dx, float *partial, int rows,    \
                                                 int cols, int stretch)) {                                             \
    layernorm_grad<T, P>(dy, x, gain, mean, rstd, dres, dx, partial, rows, cols, stretch);                             \
  }

NORM_KERNELS(f32_f32, float, float)
NORM_KERNELS(bf16_f32, bf16, float)
NORM_KERNELS(bf16_bf16, bf16, bf16)

#define NORM_PARTIAL(suffix, T)                                                                                        \
  KERNEL(layernorm_dparams_##suffix, COLUMN_THREADS, (const T *dy, const T *x, const float *mean, const float *rstd,   \
                                                      float *partial, int rows, int cols, int stretch, int packed)) {  \
    if (packed) {                                                                                                      \
      NormTerms<T, Pack<T>::n> f = {dy, x, mean, rstd, cols};                                                          \
      column_sums<2, Pack<T>::n>(f, partial, rows, cols, stretch);                                                     \
    } else {                                                                                                           \
      NormTerms<T, 1> f = {dy, x, mean, rstd, cols};                                                                   \
      column_sums<2, 1>(f, partial, rows, cols, stretch);                                                              \
    }                                                                                                                  \
  }

NORM_PARTIAL(f32, float)
NORM_PARTIAL(bf16, bf16)
