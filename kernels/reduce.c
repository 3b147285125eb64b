//go:build cgo

// Reductions of f32: sum, mean, max, min over the axes of a (outer, n, inner) view, and argmax and top-k of rows.
// Work is cut by the shape alone, never by the number of threads, and partial results are combined in index order:
// one thread or many give the same bits. Sums of chunks are combined in double.
#ifndef RG_BODY
#include "reduce.h"
#include <math.h>
#include <string.h>
#define RG_SELF "reduce.c"

// A row longer than ROW_CHUNK is folded in pieces; a column sum takes at most COL_PARTS pieces of rows.
enum { ROW_CHUNK = 16384, COL_PARTS = 32, COL_WORK = 32768, TASK = 16384 };
enum { SLICE = 128, SLICED = 131072 }; // columns of a task where the matrix is wide and small; elements of such a matrix

typedef struct {
  float (*row)(const float *x, long n);                                  // folds n elements
  void (*cols)(const float *x, long rows, long stride, long n, float *y); // folds rows into y[n]
  double (*join)(double a, double b);
  double start;
} fold;

// Two partial results; NaN stays.
static double join_sum(double a, double b) { return a + b; }
static double join_max(double a, double b) { return a > b || a != a ? a : b; }
static double join_min(double a, double b) { return a < b || a != a ? a : b; }
#define join_sumf(a, b) ((a) + (b))
#define join_maxf(a, b) ((a) > (b) || (a) != (a) ? (a) : (b))
#define join_minf(a, b) ((a) < (b) || (a) != (a) ? (a) : (b))

#include "rg_multi.h"

typedef struct {
  const fold *f;
  const float *x;
  float *y, *part;
  long outer, n, inner, parts, per, chunk;
  float scale;
} reduce_job;

static void row_task(void *ctx, long i) {
  reduce_job *j = ctx;
  for (long r = i * j->per; r < rg_min(j->outer, (i + 1) * j->per); r++)
    j->y[r] = j->n ? j->f->row(j->x + r * j->n, j->n) * j->scale : (float)j->f->start;
}

// Task i folds piece i % parts of row i / parts.
static void row_part_task(void *ctx, long i) {
  reduce_job *j = ctx;
  long r = i / j->parts, at = i % j->parts * ROW_CHUNK;
  j->part[i] = j->f->row(j->x + r * j->n + at, rg_min(ROW_CHUNK, j->n - at));
}

// Rows of n elements that lie together: (outer, n) → (outer).
static void reduce_rows(reduce_job *j) {
  j->parts = rg_ceil_div(j->n, ROW_CHUNK);
  if (j->parts <= 1) {
    j->per = rg_max(1, TASK / rg_max(1, j->n));
    long tasks = rg_ceil_div(j->outer, j->per);
    if (tasks == 1) row_task(j, 0);
    else rg_parallel(tasks, row_task, j);
    return;
  }
  j->part = rg_scratch(4, j->outer * j->parts * sizeof(float));
  rg_parallel(j->outer * j->parts, row_part_task, j);
  for (long r = 0; r < j->outer; r++) {
    double acc = j->f->start;
    for (long p = 0; p < j->parts; p++) acc = j->f->join(acc, j->part[r * j->parts + p]);
    j->y[r] = (float)(acc * j->scale);
  }
}

// Task i folds piece i % parts of the rows of matrix i / parts.
static void col_part_task(void *ctx, long i) {
  reduce_job *j = ctx;
  long o = i / j->parts, at = i % j->parts * j->per;
  j->f->cols(j->x + (o * j->n + at) * j->inner, rg_min(j->per, j->n - at), j->inner, j->inner, j->part + i * j->inner);
}

static void col_join_task(void *ctx, long i) {
  reduce_job *j = ctx;
  long total = j->outer * j->inner;
  for (long k = i * TASK; k < rg_min(total, (i + 1) * TASK); k++) {
    const float *p = j->part + k / j->inner * j->parts * j->inner + k % j->inner;
    double acc = p[0];
    for (long q = 1; q < j->parts; q++) acc = j->f->join(acc, p[q * j->inner]);
    j->y[k] = (float)(acc * j->scale);
  }
}

// Small matrices side by side: no partial results.
static void col_task(void *ctx, long i) {
  reduce_job *j = ctx;
  for (long o = i * j->chunk; o < rg_min(j->outer, (i + 1) * j->chunk); o++) {
    float *y = j->y + o * j->inner;
    j->f->cols(j->x + o * j->n * j->inner, j->n, j->inner, j->inner, y);
    if (j->scale != 1.0f)
      for (long k = 0; k < j->inner; k++) y[k] *= j->scale;
  }
}

// Task i folds slice i % parts of the columns of matrix i / parts.
static void col_slice_task(void *ctx, long i) {
  reduce_job *j = ctx;
  long o = i / j->parts, at = i % j->parts * SLICE, cols = rg_min(SLICE, j->inner - at);
  float *y = j->y + o * j->inner + at;
  j->f->cols(j->x + o * j->n * j->inner + at, j->n, j->inner, cols, y);
  if (j->scale != 1.0f)
    for (long k = 0; k < cols; k++) y[k] *= j->scale;
}

// Columns: (outer, n, inner) → (outer, inner).
static void reduce_cols(reduce_job *j) {
  long size = rg_max(1, j->n * j->inner);
  if (size > COL_WORK && size <= SLICED && j->inner >= 2 * SLICE) { // as products wrote it: each core has columns, no rows
    j->parts = rg_ceil_div(j->inner, SLICE);
    rg_parallel(j->outer * j->parts, col_slice_task, j);
    return;
  }
  j->parts = rg_max(1, rg_min(COL_PARTS, rg_min(size / COL_WORK, j->n / 4)));
  if (j->parts == 1) {
    j->chunk = rg_max(1, TASK / size);
    long tasks = rg_ceil_div(j->outer, j->chunk);
    if (tasks == 1) col_task(j, 0);
    else rg_parallel(tasks, col_task, j);
    return;
  }
  j->per = rg_ceil_div(j->n, j->parts);
  j->parts = rg_ceil_div(j->n, j->per);
  j->part = rg_scratch(4, j->outer * j->parts * j->inner * sizeof(float));
  rg_parallel(j->outer * j->parts, col_part_task, j);
  rg_parallel(rg_ceil_div(j->outer * j->inner, TASK), col_join_task, j);
}

void rg_reduce_run(const rg_reduction *a) { rg_reduce(a->op, a->x, a->y, a->outer, a->n, a->inner, a->tail, a->scale); }
void rg_reduce(int op, const float *x, float *y, long outer, long n, long inner, long tail, float scale) {
  const fold *f = &RG_DISPATCH(folds)[op];
  if (outer * inner == 0) return;
  if (tail == 1) {
    reduce_job j = {.f = f, .x = x, .y = y, .outer = outer, .n = n, .inner = inner, .scale = scale};
    if (inner == 1) reduce_rows(&j);
    else reduce_cols(&j);
    return;
  }
  // (outer, n, inner, tail) → (outer, inner): the tails first, then the columns of what remains.
  float *mid = rg_scratch(5, outer * n * inner * sizeof(float));
  reduce_job rows = {.f = f, .x = x, .y = mid, .outer = outer * n * inner, .n = tail, .inner = 1, .scale = 1};
  reduce_rows(&rows);
  reduce_job cols = {.f = f, .x = mid, .y = y, .outer = outer, .n = n, .inner = inner, .scale = scale};
  reduce_cols(&cols);
}

typedef struct {
  const float *x;
  float *v;
  int64_t *idx;
  long rows, n, k, per;
  int flag;
  long (*find)(const float *x, long n, int last);
} pick_job;

static void argmax_task(void *ctx, long i) {
  pick_job *j = ctx;
  for (long r = i * j->per; r < rg_min(j->rows, (i + 1) * j->per); r++) j->idx[r] = j->find(j->x + r * j->n, j->n, j->flag);
}

void rg_argmax(const float *x, int64_t *y, long rows, long n, int last) {
  pick_job j = {.x = x, .idx = y, .rows = rows, .n = n, .per = rg_max(1, TASK / n), .flag = last, .find = RG_DISPATCH(find_max)};
  long tasks = rg_ceil_div(rows, j.per);
  if (tasks == 1) argmax_task(&j, 0);
  else rg_parallel(tasks, argmax_task, &j);
}

// a comes before b: larger (or smaller), NaN before all numbers when largest are wanted, after all otherwise.
static int comes_before(float a, float b, int smallest) {
  return smallest ? a < b || (b != b && a == a) : a > b || (a != a && b == b);
}

// Keeps the k best so far in order; a newcomer must beat the last, so of equals the first stays ahead.
static void topk_row(const float *x, long n, long k, int smallest, float *v, int64_t *idx) {
  long have = 0;
  for (long i = 0; i < n; i++) {
    if (have == k && !comes_before(x[i], v[k - 1], smallest)) continue;
    long p = have < k ? have++ : k - 1;
    for (; p > 0 && comes_before(x[i], v[p - 1], smallest); p--) {
      v[p] = v[p - 1];
      idx[p] = idx[p - 1];
    }
    v[p] = x[i];
    idx[p] = i;
  }
}

static void topk_task(void *ctx, long r) {
  pick_job *j = ctx;
  topk_row(j->x + r * j->n, j->n, j->k, j->flag, j->v + r * j->k, j->idx + r * j->k);
}

void rg_topk(const float *x, float *v, int64_t *idx, long rows, long n, long k, int smallest) {
  pick_job j = {.x = x, .v = v, .idx = idx, .rows = rows, .n = n, .k = k, .flag = smallest};
  if (k == 0) return;
  if (rows * n <= TASK) {
    for (long r = 0; r < rows; r++) topk_task(&j, r);
  } else {
    rg_parallel(rows, topk_task, &j);
  }
}
#else
#include "rg_vec.h"

// Larger and smaller of each lane; a NaN on either side stays (the instructions return b where one is NaN).
static inline __attribute__((always_inline)) vf RG_NAME(keep_nan)(vf a, vf best) {
#if RG_WIDTH == 16
  return (vf)_mm512_mask_mov_ps((__m512)best, _mm512_cmp_ps_mask((__m512)a, (__m512)a, _CMP_UNORD_Q), (__m512)a);
#elif RG_WIDTH == 8
  return (vf)_mm256_blendv_ps((__m256)best, (__m256)a, _mm256_cmp_ps((__m256)a, (__m256)a, _CMP_UNORD_Q));
#else
  vi m = a != a;
  return (vf)((m & (vi)a) | (~m & (vi)best));
#endif
}
static inline __attribute__((always_inline)) vf RG_NAME(nan_max)(vf a, vf b) { return RG_NAME(keep_nan)(a, v_max(a, b)); }
static inline __attribute__((always_inline)) vf RG_NAME(nan_min)(vf a, vf b) { return RG_NAME(keep_nan)(a, v_min(a, b)); }
static inline __attribute__((always_inline)) vf RG_NAME(plus)(vf a, vf b) { return a + b; }

// Four vectors of partial results, then the lanes by halves. Columns: four rows at a time.
#define FOLD(name, start, OP) \
  static float RG_NAME(row_##name)(const float *x, long n) { \
    vf a = v_set(start), b = a, c = a, d = a; \
    long i = 0; \
    for (; i + 4 * RG_WIDTH <= n; i += 4 * RG_WIDTH) { \
      a = OP(a, v_loadu(x + i)); \
      b = OP(b, v_loadu(x + i + RG_WIDTH)); \
      c = OP(c, v_loadu(x + i + 2 * RG_WIDTH)); \
      d = OP(d, v_loadu(x + i + 3 * RG_WIDTH)); \
    } \
    for (; i < n; i += RG_WIDTH) a = OP(a, v_load(x + i, n - i, start)); \
    a = OP(OP(a, b), OP(c, d)); \
    float t[RG_WIDTH]; \
    v_storeu(t, a); \
    for (int half = RG_WIDTH / 2; half > 0; half /= 2) \
      for (int k = 0; k < half; k++) t[k] = join_##name##f(t[k], t[k + half]); \
    return t[0]; \
  } \
  static void RG_NAME(cols_##name)(const float *x, long rows, long stride, long n, float *y) { \
    for (long i = 0; i < n; i += RG_WIDTH) v_store(y + i, v_set(start), n - i); \
    long r = 0; \
    for (; r + 4 <= rows; r += 4) { \
      const float *p = x + r * stride; \
      for (long i = 0; i < n; i += RG_WIDTH) { \
        long k = n - i; \
        vf s = OP(OP(v_load(p + i, k, start), v_load(p + stride + i, k, start)), \
                  OP(v_load(p + 2 * stride + i, k, start), v_load(p + 3 * stride + i, k, start))); \
        v_store(y + i, OP(v_load(y + i, k, start), s), k); \
      } \
    } \
    for (; r < rows; r++) \
      for (long i = 0; i < n; i += RG_WIDTH) \
        v_store(y + i, OP(v_load(y + i, n - i, start), v_load(x + r * stride + i, n - i, start)), n - i); \
  }
FOLD(sum, 0.0f, RG_NAME(plus))
FOLD(max, -INFINITY, RG_NAME(nan_max))
FOLD(min, INFINITY, RG_NAME(nan_min))

static const fold RG_NAME(folds)[] = {
  [RG_R_SUM] = {RG_NAME(row_sum), RG_NAME(cols_sum), join_sum, 0},
  [RG_R_MAX] = {RG_NAME(row_max), RG_NAME(cols_max), join_max, -INFINITY},
  [RG_R_MIN] = {RG_NAME(row_min), RG_NAME(cols_min), join_min, INFINITY},
};

// The first (or last) place of the largest; NaN counts as larger than all.
static long RG_NAME(find_max)(const float *x, long n, int last) {
  float m = RG_NAME(row_max)(x, n);
  long found = -1;
  for (long k = 0; k < n; k++) {
    long i = last ? n - 1 - k : k;
    if (x[i] == m || (m != m && x[i] != x[i])) {
      found = i;
      break;
    }
  }
  return found;
}
#undef FOLD
#endif
