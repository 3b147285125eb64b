// AdamW's step on vectors, for the sweep over memory (optim.c) and for products that move their parameter (gemm_update.c):
// the same expressions, so that both give the same bits. Include rg_vec.h before it.
#ifndef RG_OPTIM_STEP_ONCE
#define RG_OPTIM_STEP_ONCE
#include "optim.h"

RG_SMALL rg_adamw_set rg_adamw_of(const rg_optim *a) {
  const float *h = a->hyper;
  return (rg_adamw_set){.keep = 1 - h[RG_HYPER_LR] * a->decay, .scale = h[RG_HYPER_SCALE] * (a->norm ? a->norm[1] : 1),
      .step = h[RG_HYPER_LR] / h[RG_HYPER_BIAS1], .root2 = 1 / sqrtf(h[RG_HYPER_BIAS2]), .eps = a->eps,
      .b1 = a->beta1, .b2 = a->beta2, .c1 = 1 - a->beta1, .c2 = 1 - a->beta2};
}
#define v_adamw RG_NAME(v_adamw)
#endif

// v_over is a / (√b·scale + eps), b ≥ 0. AVX-512 takes the CPU's estimates, good to 2⁻¹⁴, and one step of Newton's for each of the
// root and the reciprocal, which leaves about 2⁻²³: a third of the time of the exact instructions. Where b is 0 or infinite its
// root is b, and where the divisor is infinite the estimate, 0, is exact; Newton's steps would make NaN of them.
#define v_over RG_NAME(v_over)
RG_VEC vf v_over(vf a, vf b, float scale, float eps) {
#if RG_WIDTH == 16
  enum { ZERO = 0x02 | 0x04, INFINITE = 0x08 | 0x10 };
  __m512 x = (__m512)b, one = _mm512_set1_ps(1), half = _mm512_set1_ps(0.5f);
  __m512 r = _mm512_rsqrt14_ps(x), root = _mm512_mul_ps(x, r);                              // r ≈ 1/√b
  __m512 e = _mm512_fnmadd_ps(_mm512_mul_ps(half, root), r, half);                          // (1 − b·r²)/2
  root = _mm512_mask_mov_ps(_mm512_fmadd_ps(root, e, root), _mm512_fpclass_ps_mask(x, ZERO | INFINITE), x);
  __m512 d = _mm512_fmadd_ps(root, _mm512_set1_ps(scale), _mm512_set1_ps(eps)), q = _mm512_rcp14_ps(d);
  e = _mm512_fnmadd_ps(d, q, one);
  q = _mm512_mask3_fmadd_ps(q, e, q, _knot_mask16(_mm512_fpclass_ps_mask(d, INFINITE)));
  return (vf)_mm512_mul_ps((__m512)a, q);
#else
  return a / (v_sqrt(b) * scale + eps);
#endif
}

// p *= 1 − lr·wd;  m = β₁·m + (1−β₁)·g;  v = β₂·v + (1−β₂)·g²;  p −= lr/bias₁·m / (√v·(1/√bias₂) + eps)
RG_VEC void v_adamw(const rg_adamw_set *s, vf grad, vf *p, vf *m, vf *v) {
  vf g = grad * s->scale;
  *m = *m * s->b1 + g * s->c1;
  *v = *v * s->b2 + g * g * s->c2;
  *p = *p * s->keep - v_over(s->step * *m, *v, s->root2, s->eps);
}
