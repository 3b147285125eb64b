// Elementary functions in single precision, written so that loops over them vectorise: no calls, no branches.
#pragma once
#include <stdint.h>

#define RG_INLINE static inline __attribute__((always_inline))

// e^x by x = n·ln2 + r, |r| ≤ ln2/2: 2^n times a degree-6 Taylor polynomial in r (error below 2 ulp).
// Below −87.3 the result is the smallest normal number or 0 by the caller's own mask; above 88.7 it saturates.
RG_INLINE float rg_expf(float x) {
  const float log2e = 1.44269504088896341f, ln2_hi = 0.693359375f, ln2_lo = -2.12194440e-4f;
  x = x > 88.3762626647949f ? 88.3762626647949f : x;
  x = x < -87.3365447505531f ? -87.3365447505531f : x;
  float t = x * log2e + 12582912.0f; // 1.5·2^23: the low mantissa bits now hold round(x·log2e)
  union { float f; int32_t i; } u = {t};
  float n = t - 12582912.0f;
  float r = x - n * ln2_hi;
  r = r - n * ln2_lo;
  float p = 1.3888889e-3f;
  p = p * r + 8.3333333e-3f;
  p = p * r + 4.1666667e-2f;
  p = p * r + 1.6666667e-1f;
  p = p * r + 5.0e-1f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  union { int32_t i; float f; } s = {(u.i - 0x4B400000 + 127) << 23};
  return p * s.f;
}

// The bits of a float, and the float of bits.
RG_INLINE int32_t rg_bits(float x) {
  union { float f; int32_t i; } u = {x};
  return u.i;
}
RG_INLINE float rg_float(int32_t i) {
  union { int32_t i; float f; } u = {i};
  return u.f;
}
RG_INLINE float rg_absf(float x) { return rg_float(rg_bits(x) & 0x7fffffff); }
// |x| with the sign of s
RG_INLINE float rg_copysignf(float x, float s) { return rg_float((rg_bits(x) & 0x7fffffff) | (rg_bits(s) & (int32_t)0x80000000)); }

// rg_expf over the whole range: ∞ above ln(FLT_MAX), subnormals below −87.3, 0 below −104. 2^n is applied in two
// halves, as n may lie outside the exponents of normal numbers.
RG_INLINE float rg_expf_full(float x) {
  const float log2e = 1.44269504088896341f, ln2_hi = 0.693359375f, ln2_lo = -2.12194440e-4f;
  x = x > 89.0f ? 89.0f : x;
  x = x < -104.0f ? -104.0f : x;
  float t = x * log2e + 12582912.0f;
  float n = t - 12582912.0f;
  float r = x - n * ln2_hi;
  r = r - n * ln2_lo;
  float p = 1.3888889e-3f;
  p = p * r + 8.3333333e-3f;
  p = p * r + 4.1666667e-2f;
  p = p * r + 1.6666667e-1f;
  p = p * r + 5.0e-1f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  int32_t i = rg_bits(t) - 0x4B400000, half = i >> 1;
  return p * rg_float((half + 127) << 23) * rg_float((i - half + 127) << 23);
}

// ln x for normal x > 0, by x = 2^e·m, √½ ≤ m < √2, f = m−1: e·ln2 + f − f²/2 + f³·P(f), with P from Cephes' logf
// (S. Moshier). The caller's lift is added to e. Error below 1.5 ulp.
RG_INLINE float rg_log_normal(float x, float lift) {
  const float ln2_hi = 0.693359375f, ln2_lo = -2.12194440e-4f;
  int32_t i = rg_bits(x) - 0x3f3504f3; // bits of √½: the exponent field now counts from there
  float e = (float)(i >> 23) + lift;
  float f = rg_float((i & 0x007fffff) + 0x3f3504f3) - 1.0f;
  float z = f * f;
  float p = 7.0376836292e-2f;
  p = p * f - 1.1514610310e-1f;
  p = p * f + 1.1676998740e-1f;
  p = p * f - 1.2420140846e-1f;
  p = p * f + 1.4249322787e-1f;
  p = p * f - 1.6668057665e-1f;
  p = p * f + 2.0000714765e-1f;
  p = p * f - 2.4999993993e-1f;
  p = p * f + 3.3333331174e-1f;
  float y = p * f * z + e * ln2_lo - 0.5f * z;
  return f + y + e * ln2_hi;
}

// ln x: right for subnormals; −∞ at 0, NaN below.
RG_INLINE float rg_logf(float x) {
  float scaled = x < 1.17549435e-38f ? x * 8388608.0f : x; // 2^23 lifts subnormals
  float y = rg_log_normal(scaled, x < 1.17549435e-38f ? -23.0f : 0.0f);
  y = x > 3.402823466e38f ? x : y;                        // ∞
  y = x < 0.0f || x != x ? rg_float(0x7fc00000) : y;      // NaN
  return x == 0.0f ? rg_float((int32_t)0xff800000) : y;   // −∞
}

// ln(1+x) for 0 ≤ x < ∞: with u = 1+x rounded, ln u plus the lost part's share (x − (u−1))/u.
RG_INLINE float rg_log1pf(float x) {
  float u = 1.0f + x;
  return rg_log_normal(u, 0.0f) + (x - (u - 1.0f)) / u;
}

// tanh x: x + x³·P(x²) below 0.625 (P from Cephes' tanhf), 1 − 2/(e^(2|x|)+1) above. Error below 2 ulp.
RG_INLINE float rg_tanhf(float x) {
  float a = rg_absf(x), z = x * x;
  float p = -5.70498872745e-3f;
  p = p * z + 2.06390887954e-2f;
  p = p * z - 5.37397155531e-2f;
  p = p * z + 1.33314422036e-1f;
  p = p * z - 3.33332819422e-1f;
  float small = p * z * x + x;
  float large = 1.0f - 2.0f / (rg_expf(2.0f * a) + 1.0f);
  return a < 0.625f || x != x ? small : rg_copysignf(large, x);
}

// erf x: x + x·P(x²) below 0.93, 1 − e^(−Q(|x|)) above; both minimax, from N. Juffa's erff (error below 1 ulp with
// an exact exponential).
RG_INLINE float rg_erff(float x) {
  float t = rg_absf(x), s = x * x;
  float p = -5.96761703e-4f;
  p = p * s + 4.99119423e-3f;
  p = p * s - 2.67681349e-2f;
  p = p * s + 1.12819925e-1f;
  p = p * s - 3.76125336e-1f;
  p = p * s + 1.28379166e-1f;
  float small = p * x + x;
  float u = t > 4.0f ? 4.0f : t; // erf is 1 in single precision from 3.92 on
  float q = -1.72853470e-5f;
  q = q * u + 3.83197126e-4f;
  q = q * u - 3.88396438e-3f;
  q = q * u + 2.42546219e-2f;
  q = q * u - 1.06777877e-1f;
  q = q * u - 6.34846687e-1f;
  q = q * u - 1.28717512e-1f;
  q = q * u - u;
  float large = 1.0f - rg_expf(q);
  return t < 0.927734375f || x != x ? small : rg_copysignf(large, x);
}

// σ(x) = 1/(1+e^(−x)), relatively exact on both sides: with e = e^(−|x|), 1/(1+e) or e/(1+e).
RG_INLINE float rg_sigmoid(float x) {
  float e = rg_expf(-rg_absf(x)), r = 1.0f / (1.0f + e);
  return x < 0.0f ? e * r : r;
}
// σ'(x) = σ(1−σ) = e/(1+e)²
RG_INLINE float rg_sigmoid_grad(float x) {
  float e = rg_expf(-rg_absf(x)), r = 1.0f / (1.0f + e);
  return e * r * r;
}

// ln(1+e^x) = max(x,0) + ln(1+e^(−|x|))
RG_INLINE float rg_softplus(float x) { return (x < 0.0f ? 0.0f : x) + rg_log1pf(rg_expf(-rg_absf(x))); }

// silu x = x·σ(x); silu' = σ + x·σ(1−σ)
RG_INLINE float rg_silu(float x) { return x * rg_sigmoid(x); }
RG_INLINE float rg_silu_grad(float x) {
  float e = rg_expf(-rg_absf(x)), r = 1.0f / (1.0f + e);
  return (x < 0.0f ? e * r : r) + x * (e * r * r);
}

#define RG_SQRT_2_OVER_PI 0.797884560802865356f // √(2/π)
#define RG_GELU_CUBIC 0.044715f                 // Hendrycks & Gimpel 2016, section 2
#define RG_SQRT_HALF 0.707106781186547524f      // √½
#define RG_INV_SQRT_2PI 0.398942280401432678f   // 1/√(2π)

// gelu by tanh: ½x(1+tanh u) = x·σ(2u), u = √(2/π)·(x + 0.044715x³)
RG_INLINE float rg_gelu_tanh(float x) {
  return x * rg_sigmoid(2.0f * RG_SQRT_2_OVER_PI * x * (1.0f + RG_GELU_CUBIC * x * x));
}
// d = σ(2u) + x·σ(1−σ)·2u', u' = √(2/π)·(1 + 3·0.044715x²)
RG_INLINE float rg_gelu_tanh_grad(float x) {
  float z = x * x;
  float v = 2.0f * RG_SQRT_2_OVER_PI * x * (1.0f + RG_GELU_CUBIC * z);
  float e = rg_expf(-rg_absf(v)), r = 1.0f / (1.0f + e);
  float dv = 2.0f * RG_SQRT_2_OVER_PI * (1.0f + 3.0f * RG_GELU_CUBIC * z);
  return (v < 0.0f ? e * r : r) + x * dv * (e * r * r);
}

// Φ(−|x|), given e = e^(−x²/2): with z = |x|/√2 and t = 1/(1+0.3z), ½·erfc(z) = ½·e·t·P(t), P by interpolation of
// e^(z²)·erfc(z)/t at the nine Chebyshev nodes of 0 ≤ z ≤ 10 (relative error 2.5e-8). Exact in the tail too, where
// 1 + erf cancels.
RG_INLINE float rg_normal_tail(float x, float e) {
  float t = 1.0f / (1.0f + 0.3f * RG_SQRT_HALF * rg_absf(x));
  float p = -0.130770877f;
  p = p * t + 0.491934271f;
  p = p * t - 0.526151663f;
  p = p * t + 0.564514242f;
  p = p * t - 0.106983362f;
  p = p * t + 0.220539169f;
  p = p * t + 0.146796022f;
  p = p * t + 0.17094912f;
  p = p * t + 0.169173058f;
  return 0.5f * e * t * p;
}

// gelu exactly: x·Φ(x); d = Φ(x) + x·φ(x), φ(x) = e^(−x²/2)/√(2π)
RG_INLINE float rg_gelu_erf(float x) {
  float h = rg_normal_tail(x, rg_expf(-0.5f * x * x));
  return x * (x < 0.0f ? h : 1.0f - h);
}
RG_INLINE float rg_gelu_erf_grad(float x) {
  float e = rg_expf(-0.5f * x * x), h = rg_normal_tail(x, e);
  return (x < 0.0f ? h : 1.0f - h) + x * RG_INV_SQRT_2PI * e;
}
