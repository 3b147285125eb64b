//go:build cgo

// AdamW in the end of the product that is its gradient.
#ifndef RG_BODY
#include "gemm_blocks.h"
#include "gemm_update.h"
#include <math.h>

#define RG_SELF "gemm_update.c"
#include "rg_multi.h"

void rg_gemm_update(const rg_gemm *g, const float *tiles, long nr, long size, long i0, long rows, long j0, long cols) {
  for (long i = 0; i < rows; i++) RG_DISPATCH(update_row)(g, tiles + i * nr, nr, size, i0 + i, j0, cols);
  if (g->update->blocks) rg_blocks_put(g->update->blocks, g->c, g->ldc, g->m, g->n, i0, rows, j0, cols);
}

void rg_matmul_adamw(const rg_matmul_adamw_args *a) {
  struct rg_update u = {.set = rg_adamw_of(&a->optim), .m = a->optim.m, .v = a->optim.v, .rows = a->rows, .blocks = a->blocks};
  if (a->rows) u.places = rg_places_of(a->ids, a->wide, 0, a->gemm.m, a->count);
  rg_gemm g = a->gemm;
  g.update = &u;
  if (!rg_update_run(&g)) rg_gemm_run(&g);
}
#else
#include "rg_vec.h"
#include "optim_step.h"

// Sums from `first` on are those of row i, columns j0… of C: every nr of them a tile further.
static void RG_NAME(update_row)(const rg_gemm *g, const float *first, long nr, long size, long i, long j0, long cols) {
  const struct rg_update *u = g->update;
  const rg_adamw_set set = u->set;
  long at = i * g->ldc + j0, from = u->rows ? u->places.start[i] : 0, to = u->rows ? u->places.start[i + 1] : 0;
  float *param = (float *)g->c + at, *mom = u->m + at, *sq = u->v + at;
  for (long t = 0; t < cols; t += nr, first += size)
    for (long j = t, end = rg_min(cols, t + nr); j < end; j += RG_WIDTH) {
      long k = end - j;
      vf grad = v_load(first + j - t, k, 0), p = v_load(param + j, k, 0), m = v_load(mom + j, k, 0), v = v_load(sq + j, k, 0);
      if (from < to) {
        const float *x = u->rows + j0 + j;
        vf sum = v_load(x + u->places.order[from] * g->n, k, 0);
        for (long r = from + 1; r < to; r++) sum += v_load(x + u->places.order[r] * g->n, k, 0);
        grad += sum;
      }
      v_adamw(&set, grad, &p, &m, &v);
      v_store(mom + j, m, k);
      v_store(sq + j, v, k);
      v_store(param + j, p, k);
    }
}
#endif
