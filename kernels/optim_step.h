// AdamW's step on vectors, for the sweep over memory (optim.c) and for products that move their parameter (gemm_update.c):
// the same expressions, so that both give the same bits. Include rg_vec.h before it.
#ifndef RG_OPTIM_STEP_ONCE
#define RG_OPTIM_STEP_ONCE
#include "optim.h"

RG_SMALL rg_adamw_set rg_adamw_of(const rg_optim *a) {
  const float *h = a->hyper, scale = h[RG_HYPER_SCALE] * (a->norm ? a->norm[1] : 1);
  return (rg_adamw_set){.keep = 1 - h[RG_HYPER_LR] * a->decay, .step = h[RG_HYPER_LR] / h[RG_HYPER_BIAS1],
      .root2 = 1 / sqrtf(h[RG_HYPER_BIAS2]), .eps = a->eps, .b1 = a->beta1, .b2 = a->beta2,
      .c1 = (1 - a->beta1) * scale, .root_c2 = sqrt(1 - a->beta2) * scale};
}
#define v_adamw RG_NAME(v_adamw)
#endif

// v_over is a / (√b·scale + eps), b ≥ 0. AVX-512 takes the CPU's estimates, good to 2⁻¹⁴, and one step of Newton's for each of the
// root and the reciprocal, which leaves about 2⁻²³: a third of the time of the exact instructions. Where b is 0 or infinite its
// root is b, and where the divisor is infinite the quotient is 0; Newton's steps would make NaN of them, which one instruction each puts
// right.
#define v_over RG_NAME(v_over)
RG_VEC vf v_over(vf a, vf b, float scale, float eps) {
#if RG_WIDTH == 16
  // What VFIXUPIMM puts in place of a result, four bits by the kind of number: 2 zero, 4 and 5 −∞ and ∞.
  enum { ITSELF = 1, MINUS_0 = 7, ZERO = 8, ROOT = ITSELF << 4 * 2 | ITSELF << 4 * 4 | ITSELF << 4 * 5, OVER = MINUS_0 << 4 * 4 | ZERO << 4 * 5 };
  __m512 x = (__m512)b, one = _mm512_set1_ps(1), half = _mm512_set1_ps(0.5f);
  __m512 r = _mm512_rsqrt14_ps(x), root = _mm512_mul_ps(x, r);             // r ≈ 1/√b
  __m512 e = _mm512_fnmadd_ps(_mm512_mul_ps(half, root), r, half);         // (1 − b·r²)/2
  root = _mm512_fixupimm_ps(_mm512_fmadd_ps(root, e, root), x, _mm512_set1_epi32(ROOT), 0);
  __m512 d = _mm512_fmadd_ps(root, _mm512_set1_ps(scale), _mm512_set1_ps(eps)), q = _mm512_rcp14_ps(d);
  q = _mm512_fixupimm_ps(_mm512_fmadd_ps(q, _mm512_fnmadd_ps(d, q, one), q), d, _mm512_set1_epi32(OVER), 0);
  return (vf)_mm512_mul_ps((__m512)a, q);
#else
  return a / (v_sqrt(b) * scale + eps);
#endif
}

// With g the gradient times its scale: p *= 1 − lr·wd;  m = β₁·m + (1−β₁)·g;  v = β₂·v + (1−β₂)·g²;  p −= lr/bias₁·m / (√v·(1/√bias₂) + eps)
RG_VEC void v_adamw(const rg_adamw_set *s, vf grad, vf *p, vf *m, vf *v) {
  vf g = grad * s->root_c2;
  *m = *m * s->b1 + grad * s->c1;
  *v = *v * s->b2 + g * g;
  *p = *p * s->keep - v_over(s->step * *m, *v, s->root2, s->eps);
}
