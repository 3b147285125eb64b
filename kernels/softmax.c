//go:build cgo

// Softmax, log-softmax and their gradients over rows: a row is read from memory once and stays in cache.
#ifndef RG_BODY
#include "softmax.h"
#include "rg.h"

typedef struct {
  float *out;
  const float *a, *b;
  long rows, cols, step; // step: rows of one task
} softmax_job;

#define RG_SELF "softmax.c"
#include "rg_multi.h"

static void run(void (*fn)(void *, long), float *out, const float *a, const float *b, long rows, long cols) {
  softmax_job j = {out, a, b, rows, cols, rg_max(1, 16384 / rg_max(cols, 1))};
  rg_parallel(rg_ceil_div(rows, j.step), fn, &j);
}
void rg_softmax(float *y, const float *x, long rows, long cols) { run(RG_DISPATCH(softmax), y, x, 0, rows, cols); }
void rg_log_softmax(float *y, const float *x, long rows, long cols) { run(RG_DISPATCH(log_softmax), y, x, 0, rows, cols); }
void rg_softmax_grad(float *dx, const float *y, const float *dy, long rows, long cols) {
  run(RG_DISPATCH(softmax_grad), dx, y, dy, rows, cols);
}
void rg_log_softmax_grad(float *dx, const float *y, const float *dy, long rows, long cols) {
  run(RG_DISPATCH(log_softmax_grad), dx, y, dy, rows, cols);
}

#else
#include "rg_vec.h"

RG_VEC float RG_NAME(row_max)(const float *x, long n) {
  vf m = v_set(-INFINITY);
  for (long i = 0; i < n; i += RG_WIDTH) m = v_max(m, v_load(x + i, n - i, -INFINITY));
  return v_top(m);
}

// y = e^x / Σ e^x, by y = e^(x−m), then y / Σ y
static void RG_NAME(softmax)(void *ctx, long task) {
  const softmax_job *j = ctx;
  const long n = j->cols;
  for (long r = task * j->step; r < rg_min(j->rows, (task + 1) * j->step); r++) {
    const float *x = j->a + r * n;
    float *y = j->out + r * n;
    float m = RG_NAME(row_max)(x, n);
    vf sum = {};
    for (long i = 0; i < n; i += RG_WIDTH) {
      vf e = v_exp(v_load(x + i, n - i, -INFINITY) - m);
      v_store(y + i, e, n - i);
      sum += e;
    }
    float inv = 1 / v_sum(sum);
    for (long i = 0; i < n; i += RG_WIDTH) v_store(y + i, v_load(y + i, n - i, 0) * inv, n - i);
  }
}

// y = x − m − log Σ e^(x−m)
static void RG_NAME(log_softmax)(void *ctx, long task) {
  const softmax_job *j = ctx;
  const long n = j->cols;
  for (long r = task * j->step; r < rg_min(j->rows, (task + 1) * j->step); r++) {
    const float *x = j->a + r * n;
    float *y = j->out + r * n;
    float m = RG_NAME(row_max)(x, n);
    vf sum = {};
    for (long i = 0; i < n; i += RG_WIDTH) sum += v_exp(v_load(x + i, n - i, -INFINITY) - m);
    float log_sum = logf(v_sum(sum));
    for (long i = 0; i < n; i += RG_WIDTH) v_store(y + i, v_load(x + i, n - i, 0) - m - log_sum, n - i);
  }
}

// dx = y·(dy − Σ dy·y)
static void RG_NAME(softmax_grad)(void *ctx, long task) {
  const softmax_job *j = ctx;
  const long n = j->cols;
  for (long r = task * j->step; r < rg_min(j->rows, (task + 1) * j->step); r++) {
    const float *y = j->a + r * n, *dy = j->b + r * n;
    float *dx = j->out + r * n;
    vf dot = {};
    for (long i = 0; i < n; i += RG_WIDTH) dot += v_load(y + i, n - i, 0) * v_load(dy + i, n - i, 0);
    float d = v_sum(dot);
    for (long i = 0; i < n; i += RG_WIDTH) v_store(dx + i, v_load(y + i, n - i, 0) * (v_load(dy + i, n - i, 0) - d), n - i);
  }
}

// dx = dy − e^y·Σ dy
static void RG_NAME(log_softmax_grad)(void *ctx, long task) {
  const softmax_job *j = ctx;
  const long n = j->cols;
  for (long r = task * j->step; r < rg_min(j->rows, (task + 1) * j->step); r++) {
    const float *y = j->a + r * n, *dy = j->b + r * n;
    float *dx = j->out + r * n;
    vf sum = {};
    for (long i = 0; i < n; i += RG_WIDTH) sum += v_load(dy + i, n - i, 0);
    float s = v_sum(sum);
    for (long i = 0; i < n; i += RG_WIDTH) v_store(dx + i, v_load(dy + i, n - i, 0) - v_exp(v_load(y + i, n - i, 0)) * s, n - i);
  }
}
#endif
