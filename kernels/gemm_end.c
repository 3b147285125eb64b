//go:build cgo

// What happens to a tile of sums before it becomes C, while it is in the first-level cache.
#ifndef RG_BODY
#include "gemm_tile.h"
#include "rg_math.h"
#define RG_SELF "gemm_end.c"
#include "rg_multi.h"
void rg_gemm_epilogue(const rg_gemm *g, const float *tile, long ldt, long i0, long rows, long j0, long cols) {
  RG_DISPATCH(gemm_end)(g, tile, ldt, i0, rows, j0, cols);
}
#else

// Rows are worked on in pieces of PIECE, widened to f32 and rounded back where C is bf16.
#define PIECE 64
#define NAMED(x) RG_NAME(gemm_##x)

static inline __attribute__((always_inline)) void NAMED(read)(const void *p, long at, int bf16, float *x, long n) {
  if (bf16)
    for (long j = 0; j < n; j++) x[j] = rg_from_bf16(((const uint16_t *)p)[at + j]);
  else
    for (long j = 0; j < n; j++) x[j] = ((const float *)p)[at + j];
}
static inline __attribute__((always_inline)) void NAMED(write)(void *p, long at, int bf16, const float *x, long n) {
  if (bf16)
    for (long j = 0; j < n; j++) ((uint16_t *)p)[at + j] = rg_to_bf16(x[j]);
  else
    for (long j = 0; j < n; j++) ((float *)p)[at + j] = x[j];
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

static void RG_NAME(gemm_end)(const rg_gemm *g, const float *tile, long ldt, long i0, long rows, long j0, long cols) {
  int plain = !g->bias && !g->pre && !g->act && !g->dact_pre && !g->residual && g->beta == 0;
  for (long i = 0; i < rows; i++)
    for (long j = 0; j < cols; j += PIECE) {
      long n = rg_min(PIECE, cols - j), at = (i0 + i) * g->ldc + j0 + j;
      const float *sums = tile + i * ldt + j;
      if (plain) {
        NAMED(write)(g->c, at, g->c_bf16, sums, n);
        continue;
      }
      float x[PIECE] __attribute__((aligned(64))), y[PIECE] __attribute__((aligned(64)));
      for (long q = 0; q < n; q++) x[q] = sums[q];
      if (g->bias && g->bias_rows) {
        NAMED(read)(g->bias, i0 + i, g->bias_bf16, y, 1);
        for (long q = 0; q < n; q++) x[q] += y[0];
      } else if (g->bias) {
        NAMED(read)(g->bias, j0 + j, g->bias_bf16, y, n);
        for (long q = 0; q < n; q++) x[q] += y[q];
      }
      if (g->pre) NAMED(write)(g->pre, at, g->c_bf16, x, n);
      if (g->act) NAMED(act)(g->act, x, n);
      if (g->dact_pre) {
        NAMED(read)(g->dact_pre, at, g->c_bf16, y, n);
        NAMED(act_grad)(g->dact, x, y, n);
      }
      if (g->residual) {
        NAMED(read)(g->residual, at, g->c_bf16, y, n);
        for (long q = 0; q < n; q++) x[q] += y[q];
      }
      if (g->beta != 0) {
        NAMED(read)(g->c, at, g->c_bf16, y, n);
        for (long q = 0; q < n; q++) x[q] += g->beta * y[q];
      }
      NAMED(write)(g->c, at, g->c_bf16, x, n);
    }
}
#undef PIECE
#undef NAMED
#endif
