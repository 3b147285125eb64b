// Layer norm over the last axis of x (N,C), with saved statistics. The plain version is norm.go.
#include "reduce.cuh"

#define NORM_THREADS 256

// One block per row: y = (x − mean)·rstd·gain + bias, mean and rstd (N). Two passes over the row, the second
// from the first-level cache. With res, x + res is stored in sum first and normalised; y may be x.
template <class T, class P>
DEVICE void layernorm(const T *x, const T *res, const P *gain, const P *bias, T *sum, T *y, float *mean, float *rstd, int cols, float eps) {
  __shared__ float scratch[MAX_WARPS];
  int64_t at = (int64_t)blockIdx.x * cols;
  float s = 0.f;
  for (int i = threadIdx.x; i < cols; i += blockDim.x) {
    float v = to_float(x[at + i]);
    if (res) {
      sum[at + i] = from_float<T>(v + to_float(res[at + i]));
      v = to_float(sum[at + i]);
    }
    s += v;
  }
  const T *row = res ? sum + at : x + at;
  float m = block_sum(s, scratch) / cols;
  s = 0.f;
  for (int i = threadIdx.x; i < cols; i += blockDim.x) {
    float d = to_float(row[i]) - m;
    s += d * d;
  }
  float r = 1.f / sqrtf(block_sum(s, scratch) / cols + eps);
  for (int i = threadIdx.x; i < cols; i += blockDim.x)
    y[at + i] = from_float<T>((to_float(row[i]) - m) * r * to_float(gain[i]) + to_float(bias[i]));
  if (threadIdx.x == 0) {
    mean[blockIdx.x] = m;
    rstd[blockIdx.x] = r;
  }
}

// One block per row, with x̂ = (x − mean)·rstd and w = dy·gain:
// dx = rstd·(w − mean(w) − x̂·mean(w·x̂)) [+ dres]; dx may be dy or x.
template <class T, class P>
DEVICE void layernorm_dx(const T *dy, const T *x, const P *gain, const float *mean, const float *rstd, const T *dres, T *dx, int cols) {
  __shared__ float scratch[MAX_WARPS];
  int64_t at = (int64_t)blockIdx.x * cols;
  float m = mean[blockIdx.x], r = rstd[blockIdx.x], sw = 0.f, swx = 0.f;
  for (int i = threadIdx.x; i < cols; i += blockDim.x) {
    float w = to_float(dy[at + i]) * to_float(gain[i]);
    sw += w;
    swx += w * (to_float(x[at + i]) - m) * r;
  }
  sw = block_sum(sw, scratch) / cols;
  swx = block_sum(swx, scratch) / cols;
  for (int i = threadIdx.x; i < cols; i += blockDim.x) {
    float w = to_float(dy[at + i]) * to_float(gain[i]), xhat = (to_float(x[at + i]) - m) * r;
    float d = r * (w - sw - xhat * swx);
    dx[at + i] = from_float<T>(dres ? d + to_float(dres[at + i]) : d);
  }
}

// Partial sums of dgain = Σ dy·x̂ and dbias = Σ dy over a stretch of rows: blockIdx.x chooses 32 columns, blockIdx.y
// a stretch of `stretch` rows. A block is 32 columns × 8 rows; partial is (stretches, 2, cols).
#define NORM_COLS 32
#define NORM_ROWS 8
template <class T>
DEVICE void layernorm_dparams(const T *dy, const T *x, const float *mean, const float *rstd, float *partial, int rows, int cols, int stretch) {
  __shared__ float part[2][NORM_ROWS][NORM_COLS];
  int lane = threadIdx.x % NORM_COLS, line = threadIdx.x / NORM_COLS;
  int col = blockIdx.x * NORM_COLS + lane;
  int from = blockIdx.y * stretch, to = min(from + stretch, rows);
  float dg = 0.f, db = 0.f;
  if (col < cols)
    for (int n = from + line; n < to; n += NORM_ROWS) {
      float d = to_float(dy[(int64_t)n * cols + col]);
      db += d;
      dg += d * (to_float(x[(int64_t)n * cols + col]) - mean[n]) * rstd[n];
    }
  part[0][line][lane] = dg;
  part[1][line][lane] = db;
  __syncthreads();
  if (line < 2 && col < cols) {
    float s = 0.f;
    for (int k = 0; k < NORM_ROWS; k++) s += part[line][k][lane];
    partial[((int64_t)blockIdx.y * 2 + line) * cols + col] = s;
  }
}

// dgain and dbias (C) from the partial sums, added in the order of the stretches. dbias may be null.
template <class P> DEVICE void norm_dparams_sum(const float *partial, P *dgain, P *dbias, int cols, int stretches, int lists) {
  int col = (int)first_index();
  if (col >= cols) return;
  for (int l = 0; l < lists; l++) {
    float s = 0.f;
    for (int k = 0; k < stretches; k++) s += partial[((int64_t)k * lists + l) * cols + col];
    (l ? dbias : dgain)[col] = from_float<P>(s);
  }
}

// T is the type of activations, P that of parameters: bf16 activations come with bf16 or f32 parameters.
#define NORM_KERNELS(suffix, T, P)                                                                                     \
  KERNEL(layernorm_##suffix, NORM_THREADS, (const T *x, const T *res, const P *gain, const P *bias, T *sum, T *y,      \
                                            float *mean, float *rstd, int cols, float eps)) {                          \
    layernorm<T, P>(x, res, gain, bias, sum, y, mean, rstd, cols, eps);                                                \
  }                                                                                                                    \
  KERNEL(layernorm_dx_##suffix, NORM_THREADS, (const T *dy, const T *x, const P *gain, const float *mean,              \
                                               const float *rstd, const T *dres, T *dx, int cols)) {                   \
    layernorm_dx<T, P>(dy, x, gain, mean, rstd, dres, dx, cols);                                                       \
  }

NORM_KERNELS(f32_f32, float, float)
NORM_KERNELS(bf16_f32, bf16, float)
NORM_KERNELS(bf16_bf16, bf16, bf16)

#define NORM_PARTIAL(suffix, T)                                                                                        \
  KERNEL(layernorm_dparams_##suffix, NORM_THREADS, (const T *dy, const T *x, const float *mean, const float *rstd,     \
                                                    float *partial, int rows, int cols, int stretch)) {                \
    layernorm_dparams<T>(dy, x, mean, rstd, partial, rows, cols, stretch);                                             \
  }                                                                                                                    \
  KERNEL(norm_dparams_sum_##suffix, NORM_THREADS, (const float *partial, T *dgain, T *dbias, int cols, int stretches,  \
                                                   int lists)) {                                                       \
    norm_dparams_sum<T>(partial, dgain, dbias, cols, stretches, lists);                                                \
  }

NORM_PARTIAL(f32, float)
NORM_PARTIAL(bf16, bf16)
