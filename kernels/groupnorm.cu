// Group norm of x (N,C,plane): each sample's channels in consecutive groups. The plain version is batchnorm.go.
#include "reduce.cuh"

#define GROUP_THREADS 256

// One block per group of `size` elements: y = (x − mean)·rstd·gain + bias; y may be x. Channel of element i of group g:
// (g·size + i)/plane % C.
template <class T, class P>
DEVICE void groupnorm(const T *x, const P *gain, const P *bias, T *y, float *mean, float *rstd, int64_t size, int plane, int channels, float eps) {
  __shared__ float scratch[MAX_WARPS];
  int64_t at = (int64_t)blockIdx.x * size;
  int first = (int)(at / plane % channels);
  float s = 0.f;
  for (int64_t i = threadIdx.x; i < size; i += blockDim.x) s += to_float(x[at + i]);
  float m = block_sum(s, scratch) / (float)size;
  s = 0.f;
  for (int64_t i = threadIdx.x; i < size; i += blockDim.x) {
    float d = to_float(x[at + i]) - m;
    s += d * d;
  }
  float r = 1.f / sqrtf(block_sum(s, scratch) / (float)size + eps);
  for (int64_t i = threadIdx.x; i < size; i += blockDim.x) {
    int k = first + (int)(i / plane);
    y[at + i] = from_float<T>((to_float(x[at + i]) - m) * r * to_float(gain[k]) + to_float(bias[k]));
  }
  if (threadIdx.x == 0) {
    mean[blockIdx.x] = m;
    rstd[blockIdx.x] = r;
  }
}

// One block per group, with w = dy·gain: dx = rstd·(w − mean(w) − x̂·mean(w·x̂)); dx may be dy or x.
template <class T, class P>
DEVICE void groupnorm_dx(const T *dy, const T *x, const P *gain, const float *mean, const float *rstd, T *dx, int64_t size, int plane, int channels) {
  __shared__ float scratch[MAX_WARPS];
  int64_t at = (int64_t)blockIdx.x * size;
  int first = (int)(at / plane % channels);
  float m = mean[blockIdx.x], r = rstd[blockIdx.x], sw = 0.f, swx = 0.f;
  for (int64_t i = threadIdx.x; i < size; i += blockDim.x) {
    float w = to_float(dy[at + i]) * to_float(gain[first + (int)(i / plane)]);
    sw += w;
    swx += w * (to_float(x[at + i]) - m) * r;
  }
  sw = block_sum(sw, scratch) / (float)size;
  swx = block_sum(swx, scratch) / (float)size;
  for (int64_t i = threadIdx.x; i < size; i += blockDim.x) {
    float w = to_float(dy[at + i]) * to_float(gain[first + (int)(i / plane)]);
    dx[at + i] = from_float<T>(r * (w - sw - (to_float(x[at + i]) - m) * r * swx));
  }
}

// One block per sample and channel: its share of dgain = Σ dy·x̂ and dbias = Σ dy; partial (N,2,C), which
// columns_join of columns.cu adds in the order of the samples.
template <class T>
DEVICE void groupnorm_dparams(const T *dy, const T *x, const float *mean, const float *rstd, float *partial, int plane, int channels, int per) {
  __shared__ float scratch[MAX_WARPS];
  int n = blockIdx.x / channels, k = blockIdx.x % channels;
  int group = blockIdx.x / per;
  int64_t at = (int64_t)blockIdx.x * plane;
  float m = mean[group], r = rstd[group], dg = 0.f, db = 0.f;
  for (int i = threadIdx.x; i < plane; i += blockDim.x) {
    float d = to_float(dy[at + i]);
    db += d;
    dg += d * (to_float(x[at + i]) - m) * r;
  }
  dg = block_sum(dg, scratch);
  db = block_sum(db, scratch);
  if (threadIdx.x == 0) {
    partial[(int64_t)n * 2 * channels + k] = dg;
    partial[((int64_t)n * 2 + 1) * channels + k] = db;
  }
}

#define GROUP_KERNELS(suffix, T, P)                                                                                     \
  KERNEL(groupnorm_##suffix, GROUP_THREADS, (const T *x, const P *gain, const P *bias, T *y, float *mean, float *rstd,  \
                                             int64_t size, int plane, int channels, float eps)) {                       \
    groupnorm<T, P>(x, gain, bias, y, mean, rstd, size, plane, channels, eps);                                          \
  }                                                                                                                     \
  KERNEL(groupnorm_dx_##suffix, GROUP_THREADS, (const T *dy, const T *x, const P *gain, const float *mean,              \
                                                const float *rstd, T *dx, int64_t size, int plane, int channels)) {     \
    groupnorm_dx<T, P>(dy, x, gain, mean, rstd, dx, size, plane, channels);                                             \
  }
GROUP_KERNELS(f32_f32, float, float)
GROUP_KERNELS(bf16_f32, bf16, float)
GROUP_KERNELS(bf16_bf16, bf16, bf16)

#define GROUP_PARTIAL(suffix, T)                                                                                        \
  KERNEL(groupnorm_dparams_##suffix, GROUP_THREADS, (const T *dy, const T *x, const float *mean, const float *rstd,     \
                                                     float *partial, int plane, int channels, int per)) {               \
    groupnorm_dparams<T>(dy, x, mean, rstd, partial, plane, channels, per);                                             \
  }
GROUP_PARTIAL(f32, float)
GROUP_PARTIAL(bf16, bf16)
