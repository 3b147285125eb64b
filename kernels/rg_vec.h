// Vectors of RG_WIDTH floats, for the bodies that rg_multi.h compiles once per instruction-set level: a body includes
// this file, and so gets each function below once per level. Loads and stores take the number of elements left, k,
// and touch no more than that: a loop over any length reads
//
//   for (long i = 0; i < n; i += RG_WIDTH) v_store(y + i, f(v_load(x + i, n - i, 0)), n - i);
//
// and sums use independent accumulators, whose order depends on the length alone.
#ifndef RG_VEC_ONCE
#define RG_VEC_ONCE
#include "rg.h"
#include <math.h>
#include <string.h>
#define RG_VEC static inline __attribute__((always_inline, unused))
#define vf RG_NAME(vf_t)
#define vi RG_NAME(vi_t)
#define v_set RG_NAME(v_set)
#define v_load RG_NAME(v_load)
#define v_store RG_NAME(v_store)
#define v_max RG_NAME(v_max)
#define v_min RG_NAME(v_min)
#define v_sqrt RG_NAME(v_sqrt)
#define v_exp RG_NAME(v_exp)
#define v_sum RG_NAME(v_sum)
#define v_top RG_NAME(v_top)
#define v_mask RG_NAME(v_mask)
#define v_loadu RG_NAME(v_loadu)
#define v_storeu RG_NAME(v_storeu)
#endif

typedef float vf __attribute__((vector_size(4 * RG_WIDTH)));
typedef int32_t vi __attribute__((vector_size(4 * RG_WIDTH)));

RG_VEC vf v_set(float x) { return x - (vf){}; }
RG_VEC vf v_loadu(const float *p) {
  vf v;
  memcpy(&v, p, sizeof v);
  return v;
}
RG_VEC void v_storeu(float *p, vf v) { memcpy(p, &v, sizeof v); }

// The element-wise larger and smaller; where one is NaN the result is b.
RG_VEC vf v_max(vf a, vf b) {
#if RG_WIDTH == 16
  return (vf)_mm512_max_ps((__m512)a, (__m512)b);
#elif RG_WIDTH == 8
  return (vf)_mm256_max_ps((__m256)a, (__m256)b);
#else
  vi m = a > b;
  return (vf)((m & (vi)a) | (~m & (vi)b));
#endif
}
RG_VEC vf v_min(vf a, vf b) {
#if RG_WIDTH == 16
  return (vf)_mm512_min_ps((__m512)a, (__m512)b);
#elif RG_WIDTH == 8
  return (vf)_mm256_min_ps((__m256)a, (__m256)b);
#else
  vi m = a < b;
  return (vf)((m & (vi)a) | (~m & (vi)b));
#endif
}

RG_VEC vf v_sqrt(vf a) {
#if RG_WIDTH == 16
  return (vf)_mm512_sqrt_ps((__m512)a);
#elif RG_WIDTH == 8
  return (vf)_mm256_sqrt_ps((__m256)a);
#else
  for (int j = 0; j < RG_WIDTH; j++) a[j] = sqrtf(a[j]);
  return a;
#endif
}

#if RG_WIDTH == 8
// v_mask has its first k lanes set, 0 < k < 8.
RG_VEC __m256i v_mask(long k) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)k), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
#endif

// v_load reads min(k, RG_WIDTH) elements, k > 0; the other lanes hold `rest`.
RG_VEC vf v_load(const float *p, long k, float rest) {
  if (k >= RG_WIDTH) return v_loadu(p);
#if RG_WIDTH == 16
  return (vf)_mm512_mask_loadu_ps(_mm512_set1_ps(rest), (__mmask16)((1u << k) - 1), p);
#elif RG_WIDTH == 8
  __m256i m = v_mask(k);
  return (vf)_mm256_blendv_ps(_mm256_set1_ps(rest), _mm256_maskload_ps(p, m), _mm256_castsi256_ps(m));
#else
  vf v = v_set(rest);
  for (long j = 0; j < k; j++) v[j] = p[j];
  return v;
#endif
}

// v_store writes min(k, RG_WIDTH) elements, k > 0.
RG_VEC void v_store(float *p, vf v, long k) {
  if (k >= RG_WIDTH) {
    v_storeu(p, v);
    return;
  }
#if RG_WIDTH == 16
  _mm512_mask_storeu_ps(p, (__mmask16)((1u << k) - 1), (__m512)v);
#elif RG_WIDTH == 8
  _mm256_maskstore_ps(p, v_mask(k), (__m256)v);
#else
  for (long j = 0; j < k; j++) p[j] = v[j];
#endif
}

// The sum and the maximum of the lanes, by halves; a NaN may be missing from the maximum.
RG_VEC float v_sum(vf v) {
#if RG_WIDTH == 16
  return _mm512_reduce_add_ps((__m512)v);
#elif RG_WIDTH == 8
  __m128 h = _mm_add_ps(_mm256_castps256_ps128((__m256)v), _mm256_extractf128_ps((__m256)v, 1));
  h = _mm_add_ps(h, _mm_movehl_ps(h, h));
  return _mm_cvtss_f32(_mm_add_ss(h, _mm_movehdup_ps(h)));
#else
  return (v[0] + v[2]) + (v[1] + v[3]);
#endif
}
RG_VEC float v_top(vf v) {
#if RG_WIDTH == 16
  return _mm512_reduce_max_ps((__m512)v);
#elif RG_WIDTH == 8
  __m128 h = _mm_max_ps(_mm256_castps256_ps128((__m256)v), _mm256_extractf128_ps((__m256)v, 1));
  h = _mm_max_ps(h, _mm_movehl_ps(h, h));
  return _mm_cvtss_f32(_mm_max_ss(h, _mm_movehdup_ps(h)));
#else
  float a = v[0] > v[1] ? v[0] : v[1], b = v[2] > v[3] ? v[2] : v[3];
  return a > b ? a : b;
#endif
}

// e^x as rg_expf of rg_math.h, but 0 far below −87; NaN stays NaN.
RG_VEC vf v_exp(vf x) {
  const float log2e = 1.44269504088896341f, ln2_hi = 0.693359375f, ln2_lo = -2.12194440e-4f;
  x = v_min(v_set(88.3762626647949f), x);
#if RG_WIDTH == 16
  x = v_max(v_set(-104.0f), x); // below the smallest subnormal; scalef then rounds to 0
  vf n = (vf)_mm512_roundscale_ps((__m512)(x * log2e), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
#else
  vi keep = ~(x < -87.3365447505531f);
  x = v_max(v_set(-87.3365447505531f), x);
  vf t = x * log2e + 12582912.0f; // 1.5·2^23: the low mantissa bits now hold round(x·log2e)
  vf n = t - 12582912.0f;
#endif
  vf r = x - n * ln2_hi;
  r = r - n * ln2_lo;
  vf p = v_set(1.3888889e-3f);
  p = p * r + 8.3333333e-3f;
  p = p * r + 4.1666667e-2f;
  p = p * r + 1.6666667e-1f;
  p = p * r + 5.0e-1f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
#if RG_WIDTH == 16
  return (vf)_mm512_scalef_ps((__m512)p, (__m512)n);
#else
  return (vf)((vi)(p * (vf)(((vi)t - 0x4B400000 + 127) << 23)) & keep);
#endif
}
