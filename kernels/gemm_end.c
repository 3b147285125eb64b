//go:build cgo

// What happens to a tile of sums before it becomes C, while it is in the first-level cache.
#ifndef RG_BODY
#include "gemm_tile.h"
#include "rg_math.h"
typedef uint32_t __attribute__((may_alias)) rg_bits_of;
#define RG_SELF "gemm_end.c"
#include "rg_multi.h"
void rg_gemm_epilogue(const rg_gemm *g, const float *tile, long ldt, long i0, long rows, long j0, long cols) {
  RG_DISPATCH(gemm_end)(g, tile, ldt, i0, rows, j0, cols);
}
int rg_gemm_finite(const float *tile, long n) { return RG_DISPATCH(tile_finite)(tile, n); }
#else

#include "rg_vec.h"
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

static void NAMED(act)(int act, float *x, long n) {
  switch (act) {
  case RG_ACT_RELU:
    for (long j = 0; j < n; j++) x[j] = x[j] < 0 ? 0 : x[j]; // NaN stays
    break;
  case RG_ACT_GELU_TANH:
    for (long j = 0; j < n; j++) x[j] = rg_gelu_tanh(x[j]);
    break;
  case RG_ACT_GELU:
    for (long j = 0; j < n; j++) x[j] = rg_gelu_erf(x[j]);
    break;
  case RG_ACT_SILU:
    for (long j = 0; j < n; j++) x[j] = rg_silu(x[j]);
  }
}
static void NAMED(act_grad)(int act, float *x, const float *pre, long n) {
  switch (act) {
  case RG_ACT_RELU:
    for (long j = 0; j < n; j++) x[j] = pre[j] > 0 ? x[j] : 0;
    break;
  case RG_ACT_GELU_TANH:
    for (long j = 0; j < n; j++) x[j] *= rg_gelu_tanh_grad(pre[j]);
    break;
  case RG_ACT_GELU:
    for (long j = 0; j < n; j++) x[j] *= rg_gelu_erf_grad(pre[j]);
    break;
  case RG_ACT_SILU:
    for (long j = 0; j < n; j++) x[j] *= rg_silu_grad(pre[j]);
  }
}

// The activations' loops run over PIECE numbers at least a vector long, so that the compiler makes vectors of them.
#define PIECE 64
#define EACH(q) for (long q = 0; q < n; q += RG_WIDTH)

// n numbers of a row of C from (i,j), n ≤ PIECE.
static void NAMED(piece)(const rg_gemm *g, const float *sums, long i, long j, long n) {
  float x[PIECE] __attribute__((aligned(64))), y[PIECE] __attribute__((aligned(64)));
  long at = i * g->ldc + j, whole = rg_ceil_div(n, RG_WIDTH) * RG_WIDTH;
  EACH(q) v_storeu(x + q, v_load(sums + q, n - q, 0));
  if (g->bias && g->bias_rows) {
    vf b = v_set(NAMED(get)(g->bias, i, g->bias_bf16, 1)[0]);
    EACH(q) v_storeu(x + q, v_loadu(x + q) + b);
  } else if (g->bias) {
    EACH(q) v_storeu(x + q, v_loadu(x + q) + NAMED(get)(g->bias, j + q, g->bias_bf16, n - q));
  }
  if (g->pre) EACH(q) NAMED(put)(g->pre, at + q, g->c_bf16, v_loadu(x + q), n - q);
  if (g->act) NAMED(act)(g->act, x, whole);
  if (g->dact_pre) {
    EACH(q) v_storeu(y + q, NAMED(get)(g->dact_pre, at + q, g->c_bf16, n - q));
    NAMED(act_grad)(g->dact, x, y, whole);
  }
  if (g->residual) EACH(q) v_storeu(x + q, v_loadu(x + q) + NAMED(get)(g->residual, at + q, g->c_bf16, n - q));
  if (g->beta != 0) EACH(q) v_storeu(x + q, v_loadu(x + q) + g->beta * NAMED(get)(g->c, at + q, g->c_bf16, n - q));
  EACH(q) NAMED(put)(g->c, at + q, g->c_bf16, v_loadu(x + q), n - q);
}

static void RG_NAME(gemm_end)(const rg_gemm *g, const float *tile, long ldt, long i0, long rows, long j0, long cols) {
  int plain = !g->bias && !g->pre && !g->act && !g->dact_pre && !g->residual && g->beta == 0;
  for (long i = 0; i < rows; i++, tile += ldt) {
    long at = (i0 + i) * g->ldc + j0, n = cols;
    if (plain && g->c_bf16) EACH(q) NAMED(put)(g->c, at + q, 1, v_load(tile + q, n - q, 0), n - q);
    else if (plain) EACH(q) NAMED(put)(g->c, at + q, 0, v_load(tile + q, n - q, 0), n - q);
    else
      for (long j = 0; j < cols; j += PIECE) NAMED(piece)(g, tile + j, i0 + i, j0 + j, rg_min(PIECE, cols - j));
  }
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
#undef PIECE
#undef EACH
#endif
