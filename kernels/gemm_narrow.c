//go:build cgo

// Products of f32 with one short side, as a classifier's head has: of ten columns, ten of k or ten rows. Packing takes longer than
// multiplying there, so factors are read where they lie, and multiply-add is fast enough.
//
//   C = A·Bᵀ, few columns   dot products along k; a task has some rows of A
//   C = A·B,  few k         a task has 64 columns: those that the thread has of every wide matrix
//   C = Aᵀ·B, few rows      the same
#ifndef RG_BODY
#include "gemm_tile.h"

enum {
  SHORT = 16,     // of the short side, at most
  LONGEST = 1024, // of k, where 64 columns of B are read once for every few rows
  GROUP = 5,      // sums beside each other: of columns of A·Bᵀ, of rows otherwise
  DOT_ROWS = 8,   // rows of A·Bᵀ in one task
  COLUMNS = 64,
  TILE_ROWS = 4 * GROUP, // rows that become C together
};

typedef struct {
  const rg_gemm *g;
  long row, along; // elements of A from one row of op(A), and from one k, to the next
} narrow;
#define RG_SELF "gemm_narrow.c"
#include "rg_multi.h"

int rg_gemm_narrow(const rg_gemm *g, rg_parallel_fn parallel) {
  if (g->a_bf16 || g->b_bf16 || g->precision != RG_GEMM_F32) return 0;
  narrow s = {g, g->ta ? 1 : g->lda, g->ta ? g->lda : 1};
  if (!g->ta && g->tb && g->n <= SHORT && !g->update) parallel(rg_ceil_div(g->m, DOT_ROWS), RG_DISPATCH(dots_task), &s);
  else if (!g->tb && (g->ta ? g->m <= SHORT && g->k <= LONGEST : g->k <= SHORT))
    parallel(rg_ceil_div(g->n, COLUMNS), RG_DISPATCH(columns_task), &s);
  else return 0;
  return 1;
}
#else
#include "rg_vec.h"
#if RG_WIDTH == 16
#define ROWS 4 // 20 sums in 32 registers
#define BESIDE 4
#else
#define ROWS 2 // 10 in 16
#define BESIDE 2
#endif
#define EACH(i, n) _Pragma("GCC unroll 5") for (int i = 0; i < n; i++)

// dots writes the products of R rows of A and N rows of Bᵀ to tile. R and N are constants.
RG_VEC void RG_NAME(dots)(const float *a, long lda, const float *b, long ldb, long k, const int R, const int N, float *tile) {
  vf sum[ROWS][GROUP], x[GROUP];
  EACH(r, R) EACH(c, N) sum[r][c] = (vf){};
  for (long p = 0; p < k; p += RG_WIDTH) {
    EACH(c, N) x[c] = v_load(b + c * ldb + p, k - p, 0);
    EACH(r, R) {
      vf y = v_load(a + r * lda + p, k - p, 0);
      EACH(c, N) sum[r][c] += y * x[c];
    }
  }
  EACH(r, R) EACH(c, N) tile[r * SHORT + c] = v_sum(sum[r][c]);
}
RG_VEC void RG_NAME(dots_of)(const float *a, long lda, const float *b, long ldb, long k, const int R, long n, float *tile) {
  switch (n) {
  case 1: RG_NAME(dots)(a, lda, b, ldb, k, R, 1, tile); break;
  case 2: RG_NAME(dots)(a, lda, b, ldb, k, R, 2, tile); break;
  case 3: RG_NAME(dots)(a, lda, b, ldb, k, R, 3, tile); break;
  case 4: RG_NAME(dots)(a, lda, b, ldb, k, R, 4, tile); break;
  default: RG_NAME(dots)(a, lda, b, ldb, k, R, 5, tile);
  }
}

static void RG_NAME(dots_task)(void *ctx, long task) {
  const rg_gemm *g = ((const narrow *)ctx)->g;
  const float *a = g->a, *b = g->b;
  long i0 = task * DOT_ROWS, rows = rg_min(DOT_ROWS, g->m - i0), step = rg_ceil_div(g->n, rg_ceil_div(g->n, GROUP));
  float tile[DOT_ROWS * SHORT] __attribute__((aligned(64)));
  for (long i = 0; i < rows;) {
    long more = rows - i >= ROWS ? ROWS : 1;
    for (long j = 0; j < g->n; j += step) {
      const float *ai = a + (i0 + i) * g->lda, *bj = b + j * g->ldb;
      long n = rg_min(step, g->n - j);
      if (more == ROWS) RG_NAME(dots_of)(ai, g->lda, bj, g->ldb, g->k, ROWS, n, tile + i * SHORT + j);
      else RG_NAME(dots_of)(ai, g->lda, bj, g->ldb, g->k, 1, n, tile + i * SHORT + j);
    }
    i += more;
  }
  rg_gemm_epilogue(g, tile, SHORT, i0, rows, 0, g->n);
}

// rows writes R rows of a tile: a, of op(A), times BESIDE vectors of columns of B, of which `cols` columns are left.
RG_VEC void RG_NAME(rows)(const narrow *s, const float *a, const float *b, long cols, const int R, const int full, float *tile) {
  vf sum[GROUP][BESIDE], x[BESIDE];
  EACH(r, R) EACH(v, BESIDE) sum[r][v] = (vf){};
  for (long p = 0; p < s->g->k; p++, a += s->along, b += s->g->ldb) {
    EACH(v, BESIDE) x[v] = full || cols > v * RG_WIDTH ? v_load(b + v * RG_WIDTH, full ? RG_WIDTH : cols - v * RG_WIDTH, 0) : (vf){};
    EACH(r, R) {
      vf y = v_set(a[r * s->row]);
      EACH(v, BESIDE) sum[r][v] += y * x[v];
    }
  }
  EACH(r, R) EACH(v, BESIDE) v_storeu(tile + r * COLUMNS + v * RG_WIDTH, sum[r][v]);
}
RG_VEC void RG_NAME(rows_of)(const narrow *s, const float *a, const float *b, long cols, const int R, float *tile) {
  if (cols >= BESIDE * RG_WIDTH) RG_NAME(rows)(s, a, b, cols, R, 1, tile);
  else RG_NAME(rows)(s, a, b, cols, R, 0, tile);
}

static void RG_NAME(columns_task)(void *ctx, long task) {
  const narrow *s = ctx;
  const rg_gemm *g = s->g;
  long j0 = task * COLUMNS, cols = rg_min(COLUMNS, g->n - j0);
  float tile[TILE_ROWS * COLUMNS] __attribute__((aligned(64)));
  for (long i0 = 0; i0 < g->m; i0 += TILE_ROWS) {
    long rows = rg_min(TILE_ROWS, g->m - i0);
    for (long j = 0; j < cols; j += BESIDE * RG_WIDTH) {
      const float *b = (const float *)g->b + j0 + j;
      long i = 0;
      for (; i + GROUP <= rows; i += GROUP)
        RG_NAME(rows_of)(s, (const float *)g->a + (i0 + i) * s->row, b, cols - j, GROUP, tile + i * COLUMNS + j);
      for (; i < rows; i++) RG_NAME(rows_of)(s, (const float *)g->a + (i0 + i) * s->row, b, cols - j, 1, tile + i * COLUMNS + j);
    }
    rg_gemm_epilogue(g, tile, COLUMNS, i0, rows, j0, cols);
  }
}
#undef ROWS
#undef BESIDE
#undef EACH
#endif
