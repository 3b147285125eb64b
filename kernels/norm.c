//go:build cgo

// Layer norm and RMS norm. A row is read from memory once; its further passes find it in L1. The gradients of gain
// and bias are summed per chunk of rows, then over chunks in order: the chunks follow from the shape alone.
#ifndef RG_BODY
#include "norm.h"
#include "rg.h"
#include <math.h>

enum { MAX_CHUNKS = 32, MIN_ROWS = 16, COLUMNS = 1024 };

typedef struct {
  rg_norm a;
  long step;      // rows of one task
  long chunks;    // of rows, in the gradient
  float *partial; // (chunks, 2, cols): dgain, dbias
} norm_job;

#define RG_SELF "norm.c"
#include "rg_multi.h"

void rg_norm_forward(const rg_norm *a) {
  norm_job j = {*a, rg_max(1, 16384 / a->cols), 0, 0};
  rg_parallel(rg_ceil_div(a->rows, j.step), a->mean ? RG_DISPATCH(layer_forward) : RG_DISPATCH(rms_forward), &j);
}

void rg_norm_grad(const rg_norm *a) {
  norm_job j = {*a, rg_max(MIN_ROWS, rg_ceil_div(a->rows, MAX_CHUNKS)), 0, 0};
  j.chunks = rg_ceil_div(a->rows, j.step);
  j.partial = rg_scratch(4, (size_t)(j.chunks * 2 * a->cols) * sizeof(float));
  rg_parallel(j.chunks, a->mean ? RG_DISPATCH(layer_grad) : RG_DISPATCH(rms_grad), &j);
  rg_parallel(rg_ceil_div(a->cols, COLUMNS), RG_DISPATCH(combine), &j);
}

#else
#include "rg_vec.h"
#include "bf16.h"
#define AT(p) v_load((p) + i, n - i, 0)
#define EACH(i) for (long i = 0; i < n; i += RG_WIDTH)

// load_row returns the row to normalise, after sum = x + res where there is a residual.
RG_VEC const float *RG_NAME(load_row)(const rg_norm *a, long r) {
  const long n = a->cols;
  const float *x = a->x + r * n;
  if (!a->res) return x;
  const float *res = a->res + r * n;
  float *sum = a->sum + r * n;
  EACH(i) v_store(sum + i, AT(x) + AT(res), n - i);
  return sum;
}

// total is Σ x, sq_dev Σ (x − m)², each in two accumulators.
RG_VEC float RG_NAME(total)(const float *x, long n) {
  vf s = {}, t = {};
  long i = 0;
  for (; i + 2 * RG_WIDTH <= n; i += 2 * RG_WIDTH) {
    s += v_loadu(x + i);
    t += v_loadu(x + i + RG_WIDTH);
  }
  for (; i < n; i += RG_WIDTH) s += AT(x);
  return v_sum(s + t);
}
RG_VEC float RG_NAME(sq_dev)(const float *x, long n, float m) {
  vf s = {}, t = {};
  long i = 0;
  for (; i + 2 * RG_WIDTH <= n; i += 2 * RG_WIDTH) {
    vf a = v_loadu(x + i) - m, b = v_loadu(x + i + RG_WIDTH) - m;
    s += a * a;
    t += b * b;
  }
  for (; i < n; i += RG_WIDTH) {
    vf a = v_load(x + i, n - i, m) - m;
    s += a * a;
  }
  return v_sum(s + t);
}

// y_of returns where row r of y is to be written as f32: in place, or in `wide`, for y_done to round.
RG_VEC float *RG_NAME(y_of)(const rg_norm *a, long r, float *wide) { return a->y_bf16 ? wide : (float *)a->y + r * a->cols; }
RG_VEC void RG_NAME(y_done)(const rg_norm *a, long r, const float *y) {
  if (a->y_bf16) RG_NAME(narrow)(y, (uint16_t *)a->y + r * a->cols, a->cols);
}

// y = (x − mean)·rstd·gain + bias
static void RG_NAME(layer_forward)(void *ctx, long task) {
  const norm_job *j = ctx;
  const rg_norm *a = &j->a;
  const long n = a->cols;
  float *wide = a->y_bf16 ? rg_scratch(5, (size_t)n * sizeof(float)) : 0;
  for (long r = task * j->step; r < rg_min(a->rows, (task + 1) * j->step); r++) {
    const float *x = RG_NAME(load_row)(a, r), *gain = a->gain, *bias = a->bias;
    float *y = RG_NAME(y_of)(a, r, wide);
    float mean = RG_NAME(total)(x, n) / (float)n;
    float rstd = 1 / sqrtf(RG_NAME(sq_dev)(x, n, mean) / (float)n + a->eps);
    EACH(i) v_store(y + i, (AT(x) - mean) * rstd * AT(gain) + AT(bias), n - i);
    RG_NAME(y_done)(a, r, y);
    a->mean[r] = mean;
    a->rstd[r] = rstd;
  }
}

// y = x·rstd·gain
static void RG_NAME(rms_forward)(void *ctx, long task) {
  const norm_job *j = ctx;
  const rg_norm *a = &j->a;
  const long n = a->cols;
  float *wide = a->y_bf16 ? rg_scratch(5, (size_t)n * sizeof(float)) : 0;
  for (long r = task * j->step; r < rg_min(a->rows, (task + 1) * j->step); r++) {
    const float *x = RG_NAME(load_row)(a, r), *gain = a->gain;
    float *y = RG_NAME(y_of)(a, r, wide);
    float rstd = 1 / sqrtf(RG_NAME(sq_dev)(x, n, 0) / (float)n + a->eps);
    EACH(i) v_store(y + i, AT(x) * rstd * AT(gain), n - i);
    RG_NAME(y_done)(a, r, y);
    a->rstd[r] = rstd;
  }
}

// dx = rstd·(w − mean(w) − x̂·mean(w·x̂)) [+ dres], w = dy·gain, x̂ = (x − mean)·rstd
static void RG_NAME(layer_grad)(void *ctx, long chunk) {
  const norm_job *j = ctx;
  const rg_norm *a = &j->a;
  const long n = a->cols;
  float *dgain = j->partial + chunk * 2 * n, *dbias = dgain + n;
  const float *gain = a->gain;
  memset(dgain, 0, (size_t)(2 * n) * sizeof(float));
  for (long r = chunk * j->step; r < rg_min(a->rows, (chunk + 1) * j->step); r++) {
    const float *x = a->x + r * n, *dy = a->dy + r * n, *dres = a->dres ? a->dres + r * n : 0;
    float *dx = a->dx + r * n;
    const float mean = a->mean[r], rstd = a->rstd[r];
    vf sw = {}, swx = {};
    EACH(i) {
      vf d = AT(dy), xhat = (AT(x) - mean) * rstd, w = d * AT(gain);
      sw += w;
      swx += w * xhat;
      v_store(dgain + i, AT(dgain) + d * xhat, n - i);
      v_store(dbias + i, AT(dbias) + d, n - i);
    }
    const float mw = v_sum(sw) / (float)n, mwx = v_sum(swx) / (float)n;
    EACH(i) {
      vf g = rstd * (AT(dy) * AT(gain) - mw - (AT(x) - mean) * rstd * mwx);
      if (dres) g += AT(dres);
      v_store(dx + i, g, n - i);
    }
  }
}

// dx = rstd·(w − x̂·mean(w·x̂)) [+ dres], x̂ = x·rstd
static void RG_NAME(rms_grad)(void *ctx, long chunk) {
  const norm_job *j = ctx;
  const rg_norm *a = &j->a;
  const long n = a->cols;
  float *dgain = j->partial + chunk * 2 * n;
  const float *gain = a->gain;
  memset(dgain, 0, (size_t)n * sizeof(float));
  for (long r = chunk * j->step; r < rg_min(a->rows, (chunk + 1) * j->step); r++) {
    const float *x = a->x + r * n, *dy = a->dy + r * n, *dres = a->dres ? a->dres + r * n : 0;
    float *dx = a->dx + r * n;
    const float rstd = a->rstd[r];
    vf swx = {};
    EACH(i) {
      vf dxhat = AT(dy) * AT(x) * rstd;
      swx += dxhat * AT(gain);
      v_store(dgain + i, AT(dgain) + dxhat, n - i);
    }
    const float mwx = v_sum(swx) / (float)n;
    EACH(i) {
      vf g = rstd * (AT(dy) * AT(gain) - AT(x) * rstd * mwx);
      if (dres) g += AT(dres);
      v_store(dx + i, g, n - i);
    }
  }
}

// combine adds the chunks' partial sums, in order, for one block of columns.
static void RG_NAME(combine)(void *ctx, long block) {
  const norm_job *j = ctx;
  const long cols = j->a.cols, n = rg_min(cols, (block + 1) * COLUMNS);
  for (long i = block * COLUMNS; i < n; i += RG_WIDTH) {
    vf g = {}, b = {};
    for (long c = 0; c < j->chunks; c++) {
      const float *dgain = j->partial + c * 2 * cols, *dbias = dgain + cols;
      g += AT(dgain);
      if (j->a.dbias) b += AT(dbias);
    }
    v_store(j->a.dgain + i, g, n - i);
    if (j->a.dbias) v_store(j->a.dbias + i, b, n - i);
  }
}
#undef AT
#undef EACH
#endif
