//go:build cuda

#include "lt.h"
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

// Enumerators of cublasLt.h and cublas_api.h that are used here.
enum {
  DESC_TRANSA = 3, DESC_TRANSB = 4, DESC_EPILOGUE = 7, DESC_BIAS_POINTER = 8, DESC_AUX_POINTER = 11, DESC_AUX_LD = 12, DESC_AUX_STEP = 13,
  LAYOUT_BATCH_COUNT = 5, LAYOUT_STRIDED_BATCH_OFFSET = 6,
  PREF_MAX_WORKSPACE_BYTES = 1, PREF_REDUCTION_SCHEME_MASK = 3, PREF_MIN_ALIGNMENT_A = 5, // B, C, D follow
  REDUCTION_COMPUTE_TYPE = 2,
  R_32F = 0,
};

static struct {
  int (*create)(void **), (*destroy)(void *);
  size_t (*version)(void);
  int (*desc_create)(void **, int, int), (*desc_set)(void *, int, const void *, size_t), (*desc_destroy)(void *);
  int (*layout_create)(void **, int, uint64_t, uint64_t, int64_t), (*layout_set)(void *, int, const void *, size_t), (*layout_destroy)(void *);
  int (*pref_create)(void **), (*pref_set)(void *, int, const void *, size_t), (*pref_destroy)(void *);
  int (*heuristic)(void *, void *, void *, void *, void *, void *, void *, int, ringo_algorithm *, int *);
  int (*matmul)(void *, void *, const void *, const void *, void *, const void *, void *, const void *, const void *, void *,
                void *, void *, const void *, void *, size_t, CUstream);
} lt;
static char why[512];

struct ringo_plan {
  ringo_product p;
  void *handle, *desc, *a, *b, *c, *pref;
  ringo_algorithm algorithm;
  uint64_t workspace;
  size_t workspace_bytes;
};

size_t ringo_lt_bind(void *library) {
  const struct { void **f; const char *name; } all[] = {
      {(void **)&lt.create, "cublasLtCreate"}, {(void **)&lt.destroy, "cublasLtDestroy"}, {(void **)&lt.version, "cublasLtGetVersion"},
      {(void **)&lt.desc_create, "cublasLtMatmulDescCreate"}, {(void **)&lt.desc_set, "cublasLtMatmulDescSetAttribute"},
      {(void **)&lt.desc_destroy, "cublasLtMatmulDescDestroy"}, {(void **)&lt.layout_create, "cublasLtMatrixLayoutCreate"},
      {(void **)&lt.layout_set, "cublasLtMatrixLayoutSetAttribute"}, {(void **)&lt.layout_destroy, "cublasLtMatrixLayoutDestroy"},
      {(void **)&lt.pref_create, "cublasLtMatmulPreferenceCreate"}, {(void **)&lt.pref_set, "cublasLtMatmulPreferenceSetAttribute"},
      {(void **)&lt.pref_destroy, "cublasLtMatmulPreferenceDestroy"}, {(void **)&lt.heuristic, "cublasLtMatmulAlgoGetHeuristic"},
      {(void **)&lt.matmul, "cublasLtMatmul"},
  };
  for (size_t i = 0; i < sizeof all / sizeof *all; i++)
    if (!(*all[i].f = dlsym(library, all[i].name))) return snprintf(why, sizeof why, "the library has no %s", all[i].name), 0;
  return lt.version();
}

const char *ringo_lt_why(void) { return why; }

void *ringo_lt_handle(void) {
  void *handle = NULL;
  int rc = lt.create(&handle);
  if (rc) snprintf(why, sizeof why, "cublasLtCreate failed with status %d", rc);
  return rc ? NULL : handle;
}

void ringo_lt_close(void *handle) { lt.destroy(handle); }

static int make_layout(void **out, int type, int rows, int cols, int64_t ld, int batch, int64_t step) {
  int32_t count = batch;
  if (lt.layout_create(out, type, rows, cols, ld)) return 0;
  return batch == 1 || (!lt.layout_set(*out, LAYOUT_BATCH_COUNT, &count, sizeof count) &&
                        !lt.layout_set(*out, LAYOUT_STRIDED_BATCH_OFFSET, &step, sizeof step));
}

static int describe(ringo_plan *q) {
  const ringo_product *p = &q->p;
  int32_t ta = p->trans_a, tb = p->trans_b, epilogue = p->epilogue;
  if (lt.desc_create(&q->desc, p->compute, R_32F)) return 0;
  int bad = lt.desc_set(q->desc, DESC_TRANSA, &ta, sizeof ta) | lt.desc_set(q->desc, DESC_TRANSB, &tb, sizeof tb) |
            lt.desc_set(q->desc, DESC_EPILOGUE, &epilogue, sizeof epilogue);
  if (p->bias) bad |= lt.desc_set(q->desc, DESC_BIAS_POINTER, &p->bias, sizeof p->bias);
  if (p->aux) bad |= lt.desc_set(q->desc, DESC_AUX_POINTER, &p->aux, sizeof p->aux) | lt.desc_set(q->desc, DESC_AUX_LD, &p->ldc, sizeof p->ldc);
  if (p->aux && p->batch > 1) bad |= lt.desc_set(q->desc, DESC_AUX_STEP, &p->step_c, sizeof p->step_c);
  return !bad && make_layout(&q->a, p->in, ta ? p->k : p->m, ta ? p->m : p->k, p->lda, p->batch, p->step_a) &&
         make_layout(&q->b, p->in, tb ? p->n : p->k, tb ? p->k : p->n, p->ldb, p->batch, p->step_b) &&
         make_layout(&q->c, p->out, p->m, p->n, p->ldc, p->batch, p->step_c);
}

// alignment is the largest power of two, at most 256, that divides an address.
static uint32_t alignment(uint64_t p) {
  uint32_t a = (uint32_t)(p & -p);
  return !p || a > 256 ? 256 : a;
}

static int prefer(ringo_plan *q) {
  uint64_t bytes = q->workspace_bytes;
  // Partial sums lie apart, in f32, and are added in a fixed order. In the output's type (scheme 4) each would be rounded to bf16, in
  // the output itself (scheme 1) too, in the order in which blocks come.
  uint32_t schemes = REDUCTION_COMPUTE_TYPE;
  const uint64_t at[4] = {q->p.a, q->p.b, q->p.c, q->p.d};
  if (lt.pref_create(&q->pref)) return 0;
  int bad = lt.pref_set(q->pref, PREF_MAX_WORKSPACE_BYTES, &bytes, sizeof bytes) | lt.pref_set(q->pref, PREF_REDUCTION_SCHEME_MASK, &schemes, sizeof schemes);
  for (int i = 0; i < 4; i++) {
    uint32_t n = alignment(at[i]);
    bad |= lt.pref_set(q->pref, PREF_MIN_ALIGNMENT_A + i, &n, sizeof n);
  }
  return !bad;
}

ringo_plan *ringo_plan_new(void *handle, const ringo_product *p, uint64_t workspace, size_t workspace_bytes) {
  ringo_plan *q = calloc(1, sizeof *q);
  q->handle = handle, q->p = *p, q->workspace = workspace, q->workspace_bytes = workspace_bytes;
  if (describe(q) && prefer(q)) return q;
  ringo_plan_free(q);
  return NULL;
}

void ringo_plan_free(ringo_plan *q) {
  if (q->pref) lt.pref_destroy(q->pref);
  if (q->a) lt.layout_destroy(q->a);
  if (q->b) lt.layout_destroy(q->b);
  if (q->c) lt.layout_destroy(q->c);
  if (q->desc) lt.desc_destroy(q->desc);
  free(q);
}

int ringo_plan_ask(ringo_plan *q, ringo_algorithm *out, int max) {
  int found = 0, kept = 0;
  if (lt.heuristic(q->handle, q->desc, q->a, q->b, q->c, q->c, q->pref, max, out, &found)) return 0;
  for (int i = 0; i < found; i++)
    if (!out[i].state && out[i].workspace <= q->workspace_bytes) out[kept++] = out[i];
  return kept;
}

void ringo_plan_use(ringo_plan *q, const ringo_algorithm *a) { q->algorithm = *a; }

int ringo_plan_run(void *plan, CUstream s) {
  ringo_plan *q = plan;
  const ringo_product *p = &q->p;
  return lt.matmul(q->handle, q->desc, &p->alpha, (void *)p->a, q->a, (void *)p->b, q->b, &p->beta, (void *)p->c, q->c, (void *)p->d, q->c,
                   q->algorithm.algo, (void *)q->workspace, q->workspace_bytes, s);
}

float ringo_plan_time(ringo_plan *q, CUstream s, int runs) {
  CUevent from, to;
  if (cuEventCreate(&from, 0) || cuEventCreate(&to, 0)) return -1;
  float best = -1, ms = 0;
  int bad = ringo_plan_run(q, s); // the first call loads code
  for (int i = 0; i < runs && !bad; i++) {
    // ||, not |: in this order.
    bad = cuEventRecord(from, s) || ringo_plan_run(q, s) || cuEventRecord(to, s) || cuEventSynchronize(to) || cuEventElapsedTime(&ms, from, to);
    if (!bad && (best < 0 || ms < best)) best = ms;
  }
  cuEventDestroy(from);
  cuEventDestroy(to);
  return bad ? -1 : best;
}
