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
