//go:build cgo

// Products with few rows (decoding one token: m = 1): bound by reading B once, so nothing is packed.
#ifndef RG_BODY
#include "gemm_tile.h"
enum { SKINNY_COLS = 256 }; // columns of C in one task

typedef struct {
  const rg_gemm *g;
  const float *a; // (m,k), packed
} skinny;
#define RG_SELF "gemm_skinny.c"
#include "rg_multi.h"

void rg_gemm_skinny(const rg_gemm *g, rg_parallel_fn parallel) {
  float *a = rg_scratch(0, (size_t)(g->m * g->k) * sizeof(float));
  for (long i = 0; i < g->m; i++)
    for (long p = 0; p < g->k; p++) {
      long at = g->ta ? p * g->lda + i : i * g->lda + p;
      a[i * g->k + p] = g->a_bf16 ? rg_from_bf16(((const uint16_t *)g->a)[at]) : ((const float *)g->a)[at];
    }
  skinny s = {g, a};
  parallel(rg_ceil_div(g->n, SKINNY_COLS), RG_DISPATCH(skinny_task), &s);
}
#else

// The B (k,n) form: c[j] += a[p]·b[p][j], four k at a time.
static inline __attribute__((always_inline)) void RG_NAME(skinny_nn)(const skinny *s, long j0, long cols, int bf16, float *c) {
  const rg_gemm *g = s->g;
  for (long i = 0; i < g->m * SKINNY_COLS; i++) c[i] = 0;
  for (long p = 0; p < g->k; p += 4) {
    long left = rg_min(4, g->k - p), at[4];
    for (long q = 0; q < 4; q++) at[q] = (p + rg_min(q, left - 1)) * g->ldb + j0;
    for (long i = 0; i < g->m; i++) {
      const float *a = s->a + i * g->k + p;
      float *ci = c + i * SKINNY_COLS;
#define B(q) (bf16 ? rg_from_bf16(((const uint16_t *)g->b)[at[q] + j]) : ((const float *)g->b)[at[q] + j])
      if (left == 4)
        for (long j = 0; j < cols; j++) ci[j] += a[0] * B(0) + a[1] * B(1) + a[2] * B(2) + a[3] * B(3);
      else
        for (long q = 0; q < left; q++)
          for (long j = 0; j < cols; j++) ci[j] += a[q] * B(q);
#undef B
    }
  }
}

// The B (n,k) form: dot products over 2·RG_WIDTH running sums, added pairwise at the end.
static inline __attribute__((always_inline)) void RG_NAME(skinny_nt)(const skinny *s, long j0, long cols, int bf16, float *c) {
  enum { LANES = 2 * RG_WIDTH };
  const rg_gemm *g = s->g;
  for (long j = 0; j < cols; j++)
    for (long i = 0; i < g->m; i++) {
      const float *a = s->a + i * g->k;
      long at = (j0 + j) * g->ldb, p = 0;
      float sum[LANES] = {0};
#define B(x) (bf16 ? rg_from_bf16(((const uint16_t *)g->b)[at + (x)]) : ((const float *)g->b)[at + (x)])
      for (; p + LANES <= g->k; p += LANES)
        for (long q = 0; q < LANES; q++) sum[q] += a[p + q] * B(p + q);
      for (long q = 0; p + q < g->k; q++) sum[q] += a[p + q] * B(p + q);
#undef B
      for (long w = LANES / 2; w > 0; w /= 2)
        for (long q = 0; q < w; q++) sum[q] += sum[q + w];
      c[i * SKINNY_COLS + j] = sum[0];
    }
}

static void RG_NAME(skinny_task)(void *ctx, long task) {
  const skinny *s = ctx;
  const rg_gemm *g = s->g;
  long j0 = task * SKINNY_COLS, cols = rg_min(SKINNY_COLS, g->n - j0);
  float c[RG_SKINNY * SKINNY_COLS] __attribute__((aligned(64)));
  if (g->tb && g->b_bf16) RG_NAME(skinny_nt)(s, j0, cols, 1, c);
  else if (g->tb) RG_NAME(skinny_nt)(s, j0, cols, 0, c);
  else if (g->b_bf16) RG_NAME(skinny_nn)(s, j0, cols, 1, c);
  else RG_NAME(skinny_nn)(s, j0, cols, 0, c);
  rg_gemm_epilogue(g, c, SKINNY_COLS, 0, g->m, j0, cols);
}
#endif
