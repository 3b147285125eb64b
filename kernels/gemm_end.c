//go:build cgo

// What happens to a tile of sums before it becomes C, while it is in the first-level cache.
#ifndef RG_BODY
#include "gemm_update.h"
typedef uint32_t __attribute__((may_alias)) rg_bits_of;
#define RG_SELF "gemm_end.c"
#include "rg_multi.h"
void rg_gemm_epilogue(const rg_gemm *g, const float *tile, long ldt, long i0, long rows, long j0, long cols) {
  if (g->update) rg_gemm_update(g, tile, ldt, 0, i0, rows, j0, cols);
  else rg_gemm_end_of(g)(g, tile, ldt, i0, rows, j0, cols);
}
rg_gemm_end rg_gemm_end_of(const rg_gemm *g) { return RG_DISPATCH(gemm_end_of)(g); }
int rg_gemm_finite(const float *tile, long n) { return RG_DISPATCH(tile_finite)(tile, n); }
#else

#include "rg_vec.h"
#include "rg_act.h"
#define NAMED(x) RG_NAME(gemm_##x)

// get and put read and write min(k, RG_WIDTH) numbers of C's element type, k > 0.
RG_VEC vf NAMED(get)(const void *p, long at, int bf16, long k) {
  if (!bf16) return v_load((const float *)p + at, k, 0);
  const uint16_t *h = (const uint16_t *)p + at;
#if RG_WIDTH == 16
  __m256i w = _mm256_maskz_loadu_epi16(k >= 16 ? 0xffff : (__mmask16)((1u << k) - 1), h);
  return (vf)_mm512_slli_epi32(_mm512_cvtepu16_epi32(w), 16);
#else
  vi v = {0};
  for (long j = 0; j < RG_WIDTH && j < k; j++) v[j] = (int32_t)((uint32_t)h[j] << 16);
  return (vf)v;
#endif
}
RG_VEC void NAMED(put)(void *p, long at, int bf16, vf x, long k) {
  if (!bf16) {
    v_store((float *)p + at, x, k);
    return;
  }
  uint16_t *h = (uint16_t *)p + at;
#if RG_WIDTH == 16
  __m512i u = (__m512i)x, odd = _mm512_and_si512(_mm512_srli_epi32(u, 16), _mm512_set1_epi32(1));
  __m512i r = _mm512_add_epi32(_mm512_add_epi32(u, _mm512_set1_epi32(0x7fff)), odd); // to nearest, ties to even
  r = _mm512_mask_or_epi32(r, _mm512_cmp_ps_mask((__m512)x, (__m512)x, _CMP_UNORD_Q), u, _mm512_set1_epi32(0x400000));
  _mm256_mask_storeu_epi16(h, k >= 16 ? 0xffff : (__mmask16)((1u << k) - 1), _mm512_cvtepi32_epi16(_mm512_srli_epi32(r, 16)));
#else
  for (long j = 0; j < RG_WIDTH && j < k; j++) h[j] = rg_to_bf16(x[j]);
#endif
}

// EACH(r): the R vectors of a group advance together, so that one's latency hides behind the others.
#define EACH(r) _Pragma("GCC unroll 4") for (int r = 0; r < R; r++)

RG_VEC void NAMED(act)(int act, vf *x, const int R) {
  switch (act) {
  case RG_ACT_RELU:
    EACH(r) x[r] = v_relu(x[r]);
    break;
  case RG_ACT_GELU_TANH:
    EACH(r) x[r] = v_gelu_tanh(x[r]);
    break;
  case RG_ACT_GELU:
    EACH(r) x[r] = v_gelu_erf(x[r]);
    break;
  case RG_ACT_SILU:
    EACH(r) x[r] = v_silu(x[r]);
  }
}
RG_VEC void NAMED(act_grad)(int act, vf *x, const vf *pre, const int R) {
  switch (act) {
  case RG_ACT_RELU:
    EACH(r) x[r] = v_pick(-pre[r], x[r], (vf){});
    break;
  case RG_ACT_GELU_TANH:
    EACH(r) x[r] *= v_gelu_tanh_grad(pre[r]);
    break;
  case RG_ACT_GELU:
    EACH(r) x[r] *= v_gelu_erf_grad(pre[r]);
    break;
  case RG_ACT_SILU:
    EACH(r) x[r] *= v_silu_grad(pre[r]);
    break;
  case RG_ACT_SLOPE:
    EACH(r) x[r] *= pre[r];
  }
}

// R vectors of C, one below the other, from (i,j); k columns are left. R is a constant, and mostly act, dact and bf16 are too.
RG_VEC void NAMED(group)(const rg_gemm *g, const float *sums, long ldt, long i, long j, long k, const int R, int act, int slope,
                         int dact, int bf16) {
  vf x[4], y[4];
  long at = i * g->ldc + j, ld = g->ldc;
  EACH(r) x[r] = v_load(sums + r * ldt, k, 0);
  if (g->bias && g->bias_rows) {
    EACH(r) x[r] += NAMED(get)(g->bias, i + r, g->bias_bf16, 1)[0];
  } else if (g->bias) {
    vf b = NAMED(get)(g->bias, j, g->bias_bf16, k);
    EACH(r) x[r] += b;
  }
  if (slope) {
    EACH(r) y[r] = v_set(1);
    NAMED(act_grad)(act, y, x, R);
    EACH(r) NAMED(put)(g->pre, at + r * ld, bf16, y[r], k);
  } else if (g->pre) {
    EACH(r) NAMED(put)(g->pre, at + r * ld, bf16, x[r], k);
  }
  NAMED(act)(act, x, R);
  if (dact) {
    EACH(r) y[r] = NAMED(get)(g->dact_pre, at + r * ld, bf16, k);
    NAMED(act_grad)(dact, x, y, R);
  }
  if (g->residual) EACH(r) x[r] += NAMED(get)(g->residual, at + r * ld, bf16, k);
  if (g->beta != 0) EACH(r) x[r] += g->beta * NAMED(get)(g->c, at + r * ld, bf16, k);
  EACH(r) NAMED(put)(g->c, at + r * ld, bf16, x[r], k);
}

// The whole vectors of a tile in groups of four rows; what is left at its edges vector by vector.
RG_VEC void NAMED(tile)(const rg_gemm *g, const float *tile, long ldt, long i0, long rows, long j0, long cols, int act, int slope,
                        int dact, int bf16) {
  long i = 0;
  for (; i + 4 <= rows; i += 4, tile += 4 * ldt) {
    long j = 0;
    for (; j + RG_WIDTH <= cols; j += RG_WIDTH)
      NAMED(group)(g, tile + j, ldt, i0 + i, j0 + j, RG_WIDTH, 4, act, slope, dact, bf16);
    if (j < cols)
      for (long r = 0; r < 4; r++) NAMED(group)(g, tile + r * ldt + j, ldt, i0 + i + r, j0 + j, cols - j, 1, act, slope, dact, bf16);
  }
  for (; i + 2 <= rows && cols % RG_WIDTH == 0; i += 2, tile += 2 * ldt)
    for (long j = 0; j < cols; j += RG_WIDTH) NAMED(group)(g, tile + j, ldt, i0 + i, j0 + j, RG_WIDTH, 2, act, slope, dact, bf16);
  for (; i < rows; i++, tile += ldt)
    for (long j = 0; j < cols; j += RG_WIDTH) NAMED(group)(g, tile + j, ldt, i0 + i, j0 + j, cols - j, 1, act, slope, dact, bf16);
}

// Loops of their own, with their constants in registers, for f32 and the activations that matter most.
#define LOOP(name, act, slope, dact, bf16)                                                                             \
  static void NAMED(name)(const rg_gemm *g, const float *tile, long ldt, long i0, long rows, long j0, long cols) {     \
    NAMED(tile)(g, tile, ldt, i0, rows, j0, cols, act, slope, dact, bf16);                                                    \
  }
LOOP(add, RG_ACT_NONE, 0, RG_ACT_NONE, 0)
LOOP(relu, RG_ACT_RELU, 0, RG_ACT_NONE, 0)
LOOP(gelu_tanh, RG_ACT_GELU_TANH, 0, RG_ACT_NONE, 0)
LOOP(gelu_tanh_slope, RG_ACT_GELU_TANH, 1, RG_ACT_NONE, 0)
LOOP(times_slope, RG_ACT_NONE, 0, RG_ACT_SLOPE, 0)
LOOP(relu_grad, RG_ACT_NONE, 0, RG_ACT_RELU, 0)
LOOP(add_bf16, RG_ACT_NONE, 0, RG_ACT_NONE, 1)
LOOP(any, g->act, g->slope && g->pre, g->dact_pre ? g->dact : RG_ACT_NONE, g->c_bf16)

static rg_gemm_end RG_NAME(gemm_end_of)(const rg_gemm *g) {
  int dact = g->dact_pre ? g->dact : RG_ACT_NONE, slope = g->slope && g->pre;
  if (!g->act && !dact && !slope) return g->c_bf16 ? NAMED(add_bf16) : NAMED(add);
  if (g->c_bf16) return NAMED(any);
  if (g->act == RG_ACT_RELU && !dact && !slope) return NAMED(relu);
  if (g->act == RG_ACT_GELU_TANH && !dact) return slope ? NAMED(gelu_tanh_slope) : NAMED(gelu_tanh);
  if (!g->act && !slope && dact == RG_ACT_SLOPE) return NAMED(times_slope);
  if (!g->act && !slope && dact == RG_ACT_RELU) return NAMED(relu_grad);
  return NAMED(any);
}

static int RG_NAME(tile_finite)(const float *tile, long n) {
  uint32_t top = 0; // largest magnitude, as bits: those of infinities and NaN lie above all others
  const rg_bits_of *u = (const rg_bits_of *)tile;
  for (long i = 0; i < n; i++) {
    uint32_t m = u[i] & 0x7fffffff;
    top = m > top ? m : top;
  }
  return top < 0x7f800000;
}
#undef NAMED
#undef EACH
#undef LOOP
#endif
