// Activations on vectors of RG_WIDTH floats, for bodies that include rg_vec.h: the formulas of rg_math.h, in a form that
// leaves no constant multiplication, division or branch to the loop. No argument makes an intermediate result subnormal,
// which would cost the CPU a hundred cycles a vector. NaN stays NaN.
#ifndef RG_ACT_ONCE
#define RG_ACT_ONCE
#include "rg_math.h"
#define v_exp2 RG_NAME(v_exp2)
#define v_inverse RG_NAME(v_inverse)
#define v_pick RG_NAME(v_pick)
#define v_clamp RG_NAME(v_clamp)
#define v_abs RG_NAME(v_abs)
#define v_relu RG_NAME(v_relu)
#define v_gelu_power RG_NAME(v_gelu_power)
#define v_gelu_tanh RG_NAME(v_gelu_tanh)
#define v_gelu_tanh_grad RG_NAME(v_gelu_tanh_grad)
#define v_gelu_tanh_both RG_NAME(v_gelu_tanh_both)
#define v_normal_tail RG_NAME(v_normal_tail)
#define v_gelu_erf RG_NAME(v_gelu_erf)
#define v_gelu_erf_grad RG_NAME(v_gelu_erf_grad)
#define v_silu_power RG_NAME(v_silu_power)
#define v_silu RG_NAME(v_silu)
#define v_silu_grad RG_NAME(v_silu_grad)
#define RG_LOG2E 1.44269504088896341f
#endif

// 2^t, |t| ≤ 126: with n = round(t) and r = t−n, which is exact, 2^n times the polynomial of degree 6 with the least
// largest relative error over |r| ≤ ½ (Remez; 2e-9). Error below 1 ulp.
RG_VEC vf v_exp2(vf t) {
#if RG_WIDTH == 16
  vf n = (vf)_mm512_roundscale_ps((__m512)t, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
#else
  vf u = t + 12582912.0f, n = u - 12582912.0f; // 1.5·2^23: the low mantissa bits of u hold n
#endif
  vf r = t - n, p = v_set(1.5345812e-4f);
  p = p * r + 1.3399931e-3f;
  p = p * r + 9.6184891e-3f;
  p = p * r + 5.5503286e-2f;
  p = p * r + 2.4022646e-1f;
  p = p * r + 6.9314718e-1f;
  p = p * r + 1.0f;
#if RG_WIDTH == 16
  return (vf)_mm512_scalef_ps((__m512)p, (__m512)n);
#else
  return p * (vf)(((vi)u - 0x4B400000 + 127) << 23);
#endif
}

// 1/x for 1 ≤ x < 2^126. With AVX-512 an estimate of 14 bits and a step of Newton's: error below 1.5 ulp.
RG_VEC vf v_inverse(vf x) {
#if RG_WIDTH == 16
  vf r = (vf)_mm512_rcp14_ps((__m512)x);
  return r + r * (1.0f - x * r);
#else
  return 1.0f / x;
#endif
}

// a where x < 0, otherwise (NaN too) b
RG_VEC vf v_pick(vf x, vf a, vf b) {
#if RG_WIDTH == 16
  return (vf)_mm512_mask_blend_ps(_mm512_cmp_ps_mask((__m512)x, _mm512_setzero_ps(), _CMP_LT_OQ), (__m512)b, (__m512)a);
#else
  vi m = x < (vf){};
  return (vf)((m & (vi)a) | (~m & (vi)b));
#endif
}
RG_VEC vf v_clamp(vf x, float most) { return v_max(v_set(-most), v_min(v_set(most), x)); }
RG_VEC vf v_abs(vf x) { return (vf)((vi)x & 0x7fffffff); }

RG_VEC vf v_relu(vf x) { return v_max((vf){}, x); }

// For x within ±9.98, where σ is 0 or 1 to the last bit or close to the smallest normal number: e = e^(−2u) = 2^(−2u·log2 e),
// 2u = 2√(2/π)·x·(1 + 0.044715x²).
RG_VEC vf v_gelu_power(vf x) {
  const float c = -2.0f * RG_SQRT_2_OVER_PI * RG_LOG2E;
  return v_exp2(x * (x * x * (c * RG_GELU_CUBIC) + c));
}
// x·σ(2u) = x/(1+e)
RG_VEC vf v_gelu_tanh(vf x) { return x * v_inverse(1.0f + v_gelu_power(v_clamp(x, 9.98f))); }
// σ + x·(2u)'·σ·(1−σ) = σ·(1 + x·(2u)'·e·σ), as 1−σ = e·σ
RG_VEC vf v_gelu_tanh_grad(vf x) {
  const float c = 2.0f * RG_SQRT_2_OVER_PI;
  x = v_clamp(x, 9.98f);
  vf e = v_gelu_power(x), s = v_inverse(1.0f + e), d = x * (x * x * (3.0f * c * RG_GELU_CUBIC) + c);
  return s + s * (d * (e * s));
}
// Both, for the price of one: the function's value, and its derivative in *slope.
RG_VEC vf v_gelu_tanh_both(vf x, vf *slope) {
  const float c = 2.0f * RG_SQRT_2_OVER_PI;
  vf b = v_clamp(x, 9.98f), e = v_gelu_power(b), s = v_inverse(1.0f + e), d = b * (b * b * (3.0f * c * RG_GELU_CUBIC) + c);
  *slope = s + s * (d * (e * s));
  return x * s;
}

// Φ(−|x|) as rg_normal_tail, given e = e^(−x²/2)
RG_VEC vf v_normal_tail(vf x, vf e) {
  vf t = v_inverse(1.0f + 0.3f * RG_SQRT_HALF * v_abs(x)), p = v_set(-0.130770877f);
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
// x·Φ(x), and Φ(x) + x·φ(x). At |x| = 13 both are those of infinity up to 1e-37.
RG_VEC vf v_gelu_erf(vf x) {
  vf b = v_clamp(x, 12.9f), h = v_normal_tail(b, v_exp2(b * b * (-0.5f * RG_LOG2E)));
  return x * v_pick(x, h, 1.0f - h);
}
RG_VEC vf v_gelu_erf_grad(vf x) {
  x = v_clamp(x, 12.9f);
  vf e = v_exp2(x * x * (-0.5f * RG_LOG2E)), h = v_normal_tail(x, e);
  return v_pick(x, h, 1.0f - h) + x * RG_INV_SQRT_2PI * e;
}

// silu x = x·σ(x) = x/(1+e), e = e^(−x); silu' = σ·(1 + x·e·σ)
RG_VEC vf v_silu_power(vf x) { return v_exp2(x * -RG_LOG2E); }
RG_VEC vf v_silu(vf x) { return x * v_inverse(1.0f + v_silu_power(v_clamp(x, 87.0f))); }
RG_VEC vf v_silu_grad(vf x) {
  x = v_clamp(x, 87.0f);
  vf e = v_silu_power(x), s = v_inverse(1.0f + e);
  return s + s * (x * (e * s));
}
