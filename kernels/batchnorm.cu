// Batch norm over x (N,C,plane): statistics per channel over images and pixels. The plain version is batchnorm.go.
// Bound by memory: training reads x three times, the second time from a cache, and writes y; backward reads dy and x twice and
// writes dx.
#include "channels.cuh"

#define BATCHNORM_THREADS 256

// Statistics of one channel (blockIdx.x) over a stretch of images (blockIdx.y): its mean and the sum of squared distances from it,
// so that no digits are lost where the mean is large. partial is (stretches, 2, C).
template <class T, int width> DEVICE void batchnorm_stats(const T *x, float *partial, int images, int channels, int64_t plane, int stretch) {
  __shared__ float scratch[MAX_WARPS];
  Stretch part(images, channels, plane, stretch);
  PlainSum<T, width> sum = {x};
  float mean = part.sum(sum, scratch) / part.count;
  SquareSum<T, width> squares = {x, mean};
  float m2 = part.sum(squares, scratch);
  if (threadIdx.x == 0) {
    partial[((int64_t)blockIdx.y * 2) * channels + blockIdx.x] = mean;
    partial[((int64_t)blockIdx.y * 2 + 1) * channels + blockIdx.x] = m2;
  }
}

// Joins the stretches in order (Chan et al., "Updating formulae and a pairwise algorithm for computing sample variances", 1979):
// for parts of n_a and n_b elements, M2 = M2_a + M2_b + (mean_b − mean_a)²·n_a·n_b/n. The variance is M2/n.
KERNEL(batchnorm_join, BATCHNORM_THREADS, (const float *partial, float *mean, float *variance, int images, int channels, int64_t plane, int stretch)) {
  int c = (int)first_index();
  if (c >= channels) return;
  float m = 0.f, m2 = 0.f, n = 0.f;
  for (int k = 0; k * stretch < images; k++) {
    float part = (float)(min(stretch, images - k * stretch) * plane);
    float d = partial[(int64_t)k * 2 * channels + c] - m, share = part / (n + part);
    m += d * share;
    m2 += partial[((int64_t)k * 2 + 1) * channels + c] + d * d * n * share;
    n += part;
  }
  mean[c] = m;
  variance[c] = m2 / n;
}

// each_pack calls f(at, channel) for the first element of every pack, or for every element where planes are no whole packs.
#define EACH_PACK(Index, width, at, channel)                                                             \
  for (Index unit = (Index)first_index(), at, channel;                                                   \
       unit < (Index)(count / (width)) && (at = unit * (width), channel = at / (Index)plane % channels, true); \
       unit += (Index)index_stride())

// y = (x − mean)·rstd·gain + bias; y may be x.
template <class T, class P, class Index>
DEVICE void batchnorm_apply(const T *x, const P *gain, const P *bias, const float *mean, const float *variance, T *y, int64_t count, unsigned channels, int64_t plane, float eps, int packed) {
  const int width = Pack<T>::n;
  if (packed) {
    EACH_PACK(Index, width, at, c) {
      float scale = to_float(gain[c]) / sqrtf(variance[c] + eps), m = mean[c], b = to_float(bias[c]);
      Pack<T> v = load_pack(x + at);
#pragma unroll
      for (int k = 0; k < width; k++) v.v[k] = from_float<T>((to_float(v.v[k]) - m) * scale + b);
      store_pack(y + at, v);
    }
  } else {
    EACH_PACK(Index, 1, at, c) {
      y[at] = from_float<T>((to_float(x[at]) - mean[c]) * (to_float(gain[c]) / sqrtf(variance[c] + eps)) + to_float(bias[c]));
    }
  }
}

// Sums of one channel over a stretch of images: Σ dy·x̂ and Σ dy; partial is (stretches, 2, C).
template <class T, int width>
DEVICE void batchnorm_sums(const T *dy, const T *x, const float *mean, const float *variance, float *partial, int images, int channels, int64_t plane, int stretch, float eps) {
  __shared__ float scratch[MAX_WARPS];
  Stretch part(images, channels, plane, stretch);
  ProductSum<T, width> product = {dy, x, mean[blockIdx.x]};
  PlainSum<T, width> sum = {dy};
  float dg = part.sum(product, scratch) / sqrtf(variance[blockIdx.x] + eps), db = part.sum(sum, scratch);
  if (threadIdx.x == 0) {
    partial[((int64_t)blockIdx.y * 2) * channels + blockIdx.x] = dg;
    partial[((int64_t)blockIdx.y * 2 + 1) * channels + blockIdx.x] = db;
  }
}

// Adds the stretches in order; sums (2,C) keeps them in f32 for dx.
template <class P> DEVICE void batchnorm_sums_join(const float *partial, float *sums, P *dgain, P *dbias, int channels, int stretches) {
  int c = (int)first_index();
  if (c >= channels) return;
  for (int l = 0; l < 2; l++) {
    float s = 0.f;
    for (int k = 0; k < stretches; k++) s += partial[((int64_t)k * 2 + l) * channels + c];
    sums[l * channels + c] = s;
    (l ? dbias : dgain)[c] = from_float<P>(s);
  }
}

// dx = gain·rstd·(dy − dbias/M − x̂·dgain/M), M elements per channel; dx may be dy or x.
template <class T, class P, class Index>
DEVICE void batchnorm_dx(const T *dy, const T *x, const P *gain, const float *mean, const float *variance, const float *sums, T *dx, int64_t count, unsigned channels, int64_t plane, float eps, int packed) {
  const int width = Pack<T>::n;
  float share = (float)channels / (float)count;
  if (packed) {
    EACH_PACK(Index, width, at, c) {
      float rstd = 1.f / sqrtf(variance[c] + eps), g = to_float(gain[c]) * rstd, m = mean[c];
      float dg = sums[c] * share * rstd, db = sums[channels + c] * share;
      Pack<T> d = load_pack(dy + at), v = load_pack(x + at);
#pragma unroll
      for (int k = 0; k < width; k++) d.v[k] = from_float<T>(g * (to_float(d.v[k]) - db - (to_float(v.v[k]) - m) * dg));
      store_pack(dx + at, d);
    }
  } else {
    EACH_PACK(Index, 1, at, c) {
      float rstd = 1.f / sqrtf(variance[c] + eps), xhat = (to_float(x[at]) - mean[c]) * rstd;
      dx[at] = from_float<T>(to_float(gain[c]) * rstd * (to_float(dy[at]) - sums[channels + c] * share - xhat * sums[c] * share));
    }
  }
}

#define BATCHNORM_KERNELS(suffix, T, P)                                                                                        \
  KERNEL(batchnorm_apply_##suffix, BATCHNORM_THREADS, (const T *x, const P *gain, const P *bias, const float *mean,            \
         const float *variance, T *y, int64_t count, int channels, int64_t plane, float eps, int packed)) {                    \
    if (count <= 0x7fffffff)                                                                                                   \
      batchnorm_apply<T, P, unsigned>(x, gain, bias, mean, variance, y, count, channels, plane, eps, packed);                  \
    else                                                                                                                       \
      batchnorm_apply<T, P, uint64_t>(x, gain, bias, mean, variance, y, count, channels, plane, eps, packed);                  \
  }                                                                                                                            \
  KERNEL(batchnorm_dx_##suffix, BATCHNORM_THREADS, (const T *dy, const T *x, const P *gain, const float *mean,                 \
         const float *variance, const float *sums, T *dx, int64_t count, int channels, int64_t plane, float eps, int packed)) {\
    if (count <= 0x7fffffff)                                                                                                   \
      batchnorm_dx<T, P, unsigned>(dy, x, gain, mean, variance, sums, dx, count, channels, plane, eps, packed);                \
    else                                                                                                                       \
      batchnorm_dx<T, P, uint64_t>(dy, x, gain, mean, variance, sums, dx, count, channels, plane, eps, packed);                \
  }

BATCHNORM_KERNELS(f32_f32, float, float)
BATCHNORM_KERNELS(bf16_f32, bf16, float)
BATCHNORM_KERNELS(bf16_bf16, bf16, bf16)

#define BATCHNORM_PARTIAL(suffix, T)                                                                                           \
  KERNEL(batchnorm_stats_##suffix, BATCHNORM_THREADS, (const T *x, float *partial, int images, int channels, int64_t plane,    \
                                                       int stretch, int packed)) {                                             \
    if (packed)                                                                                                                \
      batchnorm_stats<T, Pack<T>::n>(x, partial, images, channels, plane, stretch);                                            \
    else                                                                                                                       \
      batchnorm_stats<T, 1>(x, partial, images, channels, plane, stretch);                                                     \
  }                                                                                                                            \
  KERNEL(batchnorm_sums_##suffix, BATCHNORM_THREADS, (const T *dy, const T *x, const float *mean, const float *variance,       \
         float *partial, int images, int channels, int64_t plane, int stretch, float eps, int packed)) {                       \
    if (packed)                                                                                                                \
      batchnorm_sums<T, Pack<T>::n>(dy, x, mean, variance, partial, images, channels, plane, stretch, eps);                    \
    else                                                                                                                       \
      batchnorm_sums<T, 1>(dy, x, mean, variance, partial, images, channels, plane, stretch, eps);                             \
  }                                                                                                                            \
  KERNEL(batchnorm_sums_join_##suffix, BATCHNORM_THREADS, (const float *partial, float *sums, T *dgain, T *dbias,              \
                                                           int channels, int stretches)) {                                     \
    batchnorm_sums_join<T>(partial, sums, dgain, dbias, channels, stretches);                                                  \
  }

BATCHNORM_PARTIAL(f32, float)
BATCHNORM_PARTIAL(bf16, bf16)
