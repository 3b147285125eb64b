//go:build cgo

// Muon. The iteration X ← a·X + (b·A + c·A²)·X with A = X·Xᵀ is two products by A's side and one by X; a is folded into
// the diagonal, X ← (a·I + b·A + c·A²)·X. Where X has more rows than columns the same polynomial is taken on the right,
// with A = Xᵀ·X, so that nothing is transposed and A has the smaller side.
#ifndef RG_BODY
#include "muon.h"
#include "gemm.h"
#include "optim.h"
#include <math.h>

enum { CHUNK = 1 << 15 };

typedef struct {
  const rg_muon *m;
  float *x, *gram, *poly; // gram, poly (side, side)
  double *partial;        // Σ u² per chunk
  long n, side;
  float gscale, xscale, keep, step;
} muon_job;

#define RG_SELF "muon.c"
#include "rg_multi.h"

void rg_muon_step(const rg_muon *m) {
  const long n = m->rows * m->cols, side = rg_min(m->rows, m->cols), chunks = rg_ceil_div(n, CHUNK);
  const int wide = m->rows <= m->cols;
  // The memory is the calling thread's, shared by all matrices: it grows to what the largest one needs.
  float *x = rg_scratch(4, (size_t)n * sizeof(float)), *next = rg_scratch(5, (size_t)n * sizeof(float));
  float *gram = rg_scratch(6, (size_t)(2 * side * side) * sizeof(float));
  const float lr = m->hyper[RG_HYPER_LR];
  muon_job j = {m, x, gram, gram + side * side, rg_scratch(7, (size_t)chunks * sizeof(double)), n, side,
                m->hyper[RG_HYPER_SCALE] * (m->norm ? m->norm[1] : 1), 0, 1 - lr * m->decay, lr * m->scale};
  rg_parallel(chunks, RG_DISPATCH(momentum), &j);
  double sq = 0;
  for (long i = 0; i < chunks; i++) sq += j.partial[i];
  j.xscale = (float)(1 / (sqrt(sq) + m->eps));
  rg_parallel(chunks, RG_DISPATCH(scale), &j);
  for (int s = 0; s < m->steps; s++) {
    rg_gemm g = {.m = side, .n = side, .k = n / side, .a = j.x, .b = j.x, .lda = m->cols, .ldb = m->cols,
                 .ta = !wide, .tb = wide, .c = j.gram, .ldc = side, .precision = m->precision};
    rg_gemm_run(&g); // A = X·Xᵀ or Xᵀ·X
    rg_gemm q = {.m = side, .n = side, .k = side, .a = j.gram, .b = j.gram, .lda = side, .ldb = side,
                 .c = j.poly, .ldc = side, .precision = m->precision};
    rg_gemm_run(&q); // A²
    rg_parallel(side, RG_DISPATCH(polynomial), &j);
    rg_gemm p = {.m = m->rows, .n = m->cols, .k = side, .a = wide ? j.poly : j.x, .b = wide ? j.x : j.poly,
                 .lda = wide ? side : m->cols, .ldb = wide ? m->cols : side, .c = next, .ldc = m->cols,
                 .precision = m->precision};
    rg_gemm_run(&p);
    float *old = j.x;
    j.x = next;
    next = old;
  }
  rg_parallel(chunks, RG_DISPATCH(update), &j);
}

#else
#include "rg_vec.h"
#define EACH(i) \
  const long lo = chunk * CHUNK, n = rg_min(j->n, lo + CHUNK); \
  for (long i = lo; i < n; i += RG_WIDTH)
#define AT(p) v_load((p) + i, n - i, 0)

// mom = μ·mom + g;  u = nesterov ? g + μ·mom : mom;  partial = Σ u²
static void RG_NAME(momentum)(void *ctx, long chunk) {
  const muon_job *j = ctx;
  float *mom = j->m->mom;
  const float *grad = j->m->grad, mu = j->m->momentum;
  const float ahead = j->m->nesterov ? 1 : 0, behind = j->m->nesterov ? mu : 1;
  vf sq = {};
  EACH(i) {
    vf g = AT(grad) * j->gscale, m = AT(mom) * mu + g, u = ahead * g + behind * m;
    v_store(mom + i, m, n - i);
    v_store(j->x + i, u, n - i);
    sq += u * u;
  }
  j->partial[chunk] = v_sum(sq);
}

static void RG_NAME(scale)(void *ctx, long chunk) {
  const muon_job *j = ctx;
  EACH(i) v_store(j->x + i, AT(j->x) * j->xscale, n - i);
}

// poly = a·I + b·A + c·A², one row; poly holds A² before
static void RG_NAME(polynomial)(void *ctx, long row) {
  const muon_job *j = ctx;
  const long n = j->side;
  float *poly = j->poly + row * n, *gram = j->gram + row * n;
  for (long i = 0; i < n; i += RG_WIDTH) v_store(poly + i, AT(poly) * j->m->c + AT(gram) * j->m->b, n - i);
  poly[row] += j->m->a;
}

// p = (1 − lr·wd)·p − lr·scale·X
static void RG_NAME(update)(void *ctx, long chunk) {
  const muon_job *j = ctx;
  float *param = j->m->param;
  EACH(i) v_store(param + i, AT(param) * j->keep - AT(j->x) * j->step, n - i);
}
#undef EACH
#undef AT
#endif
