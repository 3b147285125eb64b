// RMS norm over the last axis of x (N,C), with the saved 1/root-mean-square. The plain version is norm.go.
#include "reduce.cuh"

#define RMS_THREADS 256

// One block per row: y = x·rstd·gain. With res, x + res is stored in sum first and normalised; y may be x.
template <class T, class P>
DEVICE void rmsnorm(const T *x, const T *res, const P *gain, T *sum, T *y, float *rstd, int cols, float eps) {
  __shared__ float scratch[MAX_WARPS];
  int64_t at = (int64_t)blockIdx.x * cols;
  float s = 0.f;
  for (int i = threadIdx.x; i < cols; i += blockDim.x) {
    float v = to_float(x[at + i]);
    if (res) {
      sum[at + i] = from_float<T>(v + to_float(res[at + i]));
      v = to_float(sum[at + i]);
    }
    s += v * v;
  }
  const T *row = res ? sum + at : x + at;
  float r = 1.f / sqrtf(block_sum(s, scratch) / cols + eps);
  for (int i = threadIdx.x; i < cols; i += blockDim.x) y[at + i] = from_float<T>(to_float(row[i]) * r * to_float(gain[i]));
  if (threadIdx.x == 0) rstd[blockIdx.x] = r;
}

// One block per row, with x̂ = x·rstd and w = dy·gain: dx = rstd·(w − x̂·mean(w·x̂)) [+ dres]; dx may be dy or x.
template <class T, class P>
DEVICE void rmsnorm_dx(const T *dy, const T *x, const P *gain, const float *rstd, const T *dres, T *dx, int cols) {
  __shared__ float scratch[MAX_WARPS];
  int64_t at = (int64_t)blockIdx.x * cols;
  float r = rstd[blockIdx.x], s = 0.f;
  for (int i = threadIdx.x; i < cols; i += blockDim.x) s += to_float(dy[at + i]) * to_float(gain[i]) * to_float(x[at + i]) * r;
  s = block_sum(s, scratch) / cols;
  for (int i = threadIdx.x; i < cols; i += blockDim.x) {
    float d = r * (to_float(dy[at + i]) * to_float(gain[i]) - to_float(x[at + i]) * r * s);
    dx[at + i] = from_float<T>(dres ? d + to_float(dres[at + i]) : d);
  }
}

// Partial sums of dgain = Σ dy·x̂ over stretches of rows, as layernorm_dparams of layernorm.cu; partial (stretches, cols).
#define RMS_COLS 32
#define RMS_ROWS 8
template <class T>
DEVICE void rmsnorm_dparams(const T *dy, const T *x, const float *rstd, float *partial, int rows, int cols, int stretch) {
  __shared__ float part[RMS_ROWS][RMS_COLS];
  int lane = threadIdx.x % RMS_COLS, line = threadIdx.x / RMS_COLS;
  int col = blockIdx.x * RMS_COLS + lane;
  int from = blockIdx.y * stretch, to = min(from + stretch, rows);
  float dg = 0.f;
  if (col < cols)
    for (int n = from + line; n < to; n += RMS_ROWS)
      dg += to_float(dy[(int64_t)n * cols + col]) * to_float(x[(int64_t)n * cols + col]) * rstd[n];
  part[line][lane] = dg;
  __syncthreads();
  if (line == 0 && col < cols) {
    float s = 0.f;
    for (int k = 0; k < RMS_ROWS; k++) s += part[k][lane];
    partial[(int64_t)blockIdx.y * cols + col] = s;
  }
}

#define RMS_KERNELS(suffix, T, P)                                                                                      \
  KERNEL(rmsnorm_##suffix, RMS_THREADS, (const T *x, const T *res, const P *gain, T *sum, T *y, float *rstd, int cols, \
                                         float eps)) {                                                                 \
    rmsnorm<T, P>(x, res, gain, sum, y, rstd, cols, eps);                                                              \
  }                                                                                                                    \
  KERNEL(rmsnorm_dx_##suffix, RMS_THREADS, (const T *dy, const T *x, const P *gain, const float *rstd, const T *dres,  \
                                            T *dx, int cols)) {                                                        \
    rmsnorm_dx<T, P>(dy, x, gain, rstd, dres, dx, cols);                                                               \
  }
RMS_KERNELS(f32_f32, float, float)
RMS_KERNELS(bf16_f32, bf16, float)
RMS_KERNELS(bf16_bf16, bf16, bf16)

#define RMS_PARTIAL(suffix, T)                                                                                         \
  KERNEL(rmsnorm_dparams_##suffix, RMS_THREADS, (const T *dy, const T *x, const float *rstd, float *partial, int rows, \
                                                 int cols, int stretch)) {                                             \
    rmsnorm_dparams<T>(dy, x, rstd, partial, rows, cols, stretch);                                                     \
  }
RMS_PARTIAL(f32, float)
RMS_PARTIAL(bf16, bf16)
