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

// Rows are worked on one vector at a time, widened to f32 and rounded back where C is bf16.
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

// n elements of a row, at most one vector: i and j name the first in C.
static inline __attribute__((always_inline)) void NAMED(piece)(const rg_gemm *g, const float *sums, long i, long j, long n) {
  float x[RG_WIDTH] __attribute__((aligned(64))), y[RG_WIDTH] __attribute__((aligned(64)));
  long at = i * g->ldc + j;
  for (long q = 0; q < n; q++) x[q] = sums[q];
  if (g->bias && g->bias_rows) {
    NAMED(read)(g->bias, i, g->bias_bf16, y, 1);
    for (long q = 0; q < n; q++) x[q] += y[0];
  } else if (g->bias) {
    NAMED(read)(g->bias, j, g->bias_bf16, y, n);
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

static void RG_NAME(gemm_end)(const rg_gemm *g, const float *tile, long ldt, long i0, long rows, long j0, long cols) {
  int plain = !g->bias && !g->pre && !g->act && !g->dact_pre && !g->residual && g->beta == 0;
  long whole = cols / RG_WIDTH * RG_WIDTH; // vectors of a length known when compiling, then the rest
  for (long i = 0; i < rows; i++) {
    const float *sums = tile + i * ldt;
    long at = (i0 + i) * g->ldc + j0, j = 0;
    if (plain && g->c_bf16)
      for (; j < whole; j += RG_WIDTH) NAMED(write)(g->c, at + j, 1, sums + j, RG_WIDTH);
    else if (plain)
      for (; j < whole; j += RG_WIDTH) NAMED(write)(g->c, at + j, 0, sums + j, RG_WIDTH);
    else
      for (; j < whole; j += RG_WIDTH) NAMED(piece)(g, sums + j, i0 + i, j0 + j, RG_WIDTH);
    if (j < cols) NAMED(piece)(g, sums + j, i0 + i, j0 + j, cols - j);
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
#endif
