//go:build cgo

// Cross-entropy. A row of logits is cut into blocks that fit the L1 cache: each is read from memory once, gives its
// maximum and Σ e^(x−m), m being the row's maximum so far, and the running sum is rescaled when m grows. The fused
// form leaves e^(x−m) behind in dlogits, which is in L2 by then, so that the gradient is one multiplication by
// e^(m_b−m)/Σ·dloss/count per element, m_b being m when block b was read: one exponential per logit in all.
#ifndef RG_BODY
#include "loss.h"
#include "rg.h"
#include <math.h>

enum { BLOCK = 2048, MAX_BLOCKS = 256 }; // elements: 8 KiB of logits and as much of output fit 32 KiB
enum { STEP = 16384, STEP_ROWS = 16 };    // elements, and at most rows, of one task: a short row takes as long as its logarithm

typedef struct {
  rg_loss a;
  double *row_loss; // (rows)
  float scale;      // dloss / rows that count
  long step, block; // rows of one task, elements of one block
} loss_job;

#define RG_SELF "loss.c"
#include "rg_multi.h"

static int counts(const rg_loss *a, long target) { return !(a->has_ignore && target == a->ignore); }

static loss_job prepare(const rg_loss *a, float dloss, long *count) {
  *count = 0;
  for (long r = 0; r < a->total; r++) *count += counts(a, a->targets[r]);
  loss_job j = {*a, rg_scratch(4, (size_t)a->rows * sizeof(double)), dloss / (float)*count, rg_max(1, rg_min(STEP_ROWS, STEP / a->v)), BLOCK};
  j.a.targets += a->first;
  while (j.block * MAX_BLOCKS < a->v) j.block *= 2;
  return j;
}

static void mean_loss(const loss_job *j, long count) {
  double sum = 0;
  for (long r = 0; r < j->a.rows; r++)
    if (counts(&j->a, j->a.targets[r])) sum += j->row_loss[r];
  *j->a.loss = (float)(sum / (double)count);
}

void rg_cross_entropy(const rg_loss *a) {
  long count;
  loss_job j = prepare(a, 0, &count);
  rg_parallel(rg_ceil_div(a->rows, j.step), RG_DISPATCH(forward), &j);
  mean_loss(&j, count);
}
void rg_cross_entropy_grad(const rg_loss *a) {
  long count;
  loss_job j = prepare(a, *a->dloss, &count);
  rg_parallel(rg_ceil_div(a->rows, j.step), RG_DISPATCH(backward), &j);
}
void rg_cross_entropy_fused(const rg_loss *a) {
  long count;
  loss_job j = prepare(a, a->seed, &count);
  rg_parallel(rg_ceil_div(a->rows, j.step), RG_DISPATCH(fused), &j);
  mean_loss(&j, count);
}

#else
#include "rg_vec.h"

// What one sweep over a row of logits finds.
typedef struct {
  double lse;
  float max, sum; // Σ e^(x−max)
  double total; // Σ x, where smoothing needs it
} RG_NAME(row_sums);

// sweep reads a row once. Where e is given it receives e^(x−m_b), and at[b] = m_b, the row's maximum up to block b.
RG_VEC RG_NAME(row_sums) RG_NAME(sweep)(const loss_job *j, const float *x, float *e, float *at) {
  const long v = j->a.v, w = RG_WIDTH;
  RG_NAME(row_sums) out = {0, -INFINITY, 0, 0};
  vf sum = {}, sum2 = {}, total = {};
  for (long b = 0, lo = 0; lo < v; b++, lo += j->block) {
    long hi = rg_min(v, lo + j->block), full = lo + (hi - lo) / (2 * w) * (2 * w);
    vf m0 = v_set(-INFINITY), m1 = m0;
    for (long i = lo; i < full; i += 2 * w) {
      m0 = v_max(m0, v_loadu(x + i));
      m1 = v_max(m1, v_loadu(x + i + w));
    }
    for (long i = full; i < hi; i += w) m0 = v_max(m0, v_load(x + i, hi - i, -INFINITY));
    float m = v_top(v_max(m0, m1));
    if (m > out.max && b == 0) {
      out.max = m; // there are no sums yet
    } else if (m > out.max) {
      vf shrink = v_exp(v_set(out.max - m));
      sum *= shrink;
      sum2 *= shrink;
      out.max = m;
    }
    if (at) at[b] = out.max;
    m = out.max > -INFINITY ? out.max : 0; // −∞ − (−∞) would be NaN where a whole block is masked
    for (long i = lo; i < full; i += 2 * w) {
      vf a = v_exp(v_loadu(x + i) - m), c = v_exp(v_loadu(x + i + w) - m);
      if (j->a.smoothing > 0) total += v_loadu(x + i) + v_loadu(x + i + w);
      if (e) v_storeu(e + i, a), v_storeu(e + i + w, c);
      sum += a;
      sum2 += c;
    }
    for (long i = full; i < hi; i += w) {
      vf a = v_exp(v_load(x + i, hi - i, -INFINITY) - m);
      if (j->a.smoothing > 0) total += v_load(x + i, hi - i, 0);
      if (e) v_store(e + i, a, hi - i);
      sum += a;
    }
    out.total += v_sum(total);
    total = (vf){};
  }
  out.sum = v_sum(sum + sum2);
  out.lse = out.max + log((double)out.sum);
  return out;
}

// row_loss = lse − (1−s)·x[t] − s·mean(x)
RG_VEC double RG_NAME(row_loss)(const rg_loss *a, float xt, RG_NAME(row_sums) s) {
  return s.lse - (1.0 - a->smoothing) * xt - a->smoothing * s.total / (double)a->v;
}

static void RG_NAME(forward)(void *ctx, long task) {
  const loss_job *j = ctx;
  for (long r = task * j->step; r < rg_min(j->a.rows, (task + 1) * j->step); r++) {
    const float *x = j->a.logits + r * j->a.v;
    RG_NAME(row_sums) s = RG_NAME(sweep)(j, x, 0, 0);
    j->a.lse[r] = (float)s.lse;
    long t = j->a.targets[r];
    j->row_loss[r] = RG_NAME(row_loss)(&j->a, t >= 0 && t < j->a.v ? x[t] : NAN, s);
  }
}

// even fills rows that are the same everywhere: 0 for an ignored target, NaN for one outside [0,v). It says whether
// it did.
RG_VEC int RG_NAME(even)(const rg_loss *a, long r, float *d) {
  long t = a->targets[r];
  int skip = a->has_ignore && t == a->ignore;
  if (!skip && t >= 0 && t < a->v) return 0;
  for (long i = 0; i < a->v; i++) d[i] = skip ? 0 : NAN;
  return 1;
}

// dlogits = dloss/count·(e^(x−lse) − (1−s)·onehot − s/v)
static void RG_NAME(backward)(void *ctx, long task) {
  const loss_job *j = ctx;
  const long v = j->a.v;
  const float scale = j->scale, rest = scale * j->a.smoothing / (float)v;
  for (long r = task * j->step; r < rg_min(j->a.rows, (task + 1) * j->step); r++) {
    const float *x = j->a.logits + r * v;
    float *d = j->a.dlogits + r * v, lse = j->a.lse[r];
    if (RG_NAME(even)(&j->a, r, d)) continue;
    for (long i = 0; i < v; i += RG_WIDTH) v_store(d + i, v_exp(v_load(x + i, v - i, 0) - lse) * scale - rest, v - i);
    d[j->a.targets[r]] -= scale * (1 - j->a.smoothing);
  }
}

static void RG_NAME(fused)(void *ctx, long task) {
  const loss_job *j = ctx;
  const long v = j->a.v;
  const float scale = j->scale, rest = scale * j->a.smoothing / (float)v;
  float at[MAX_BLOCKS];
  for (long r = task * j->step; r < rg_min(j->a.rows, (task + 1) * j->step); r++) {
    const float *x = j->a.logits + r * v;
    float *d = j->a.dlogits + r * v;
    if (RG_NAME(even)(&j->a, r, d)) {
      j->row_loss[r] = NAN; // not added where ignored
      continue;
    }
    long t = j->a.targets[r];
    float xt = x[t]; // before the sweep, as d may be x
    RG_NAME(row_sums) s = RG_NAME(sweep)(j, x, d, at);
    j->row_loss[r] = RG_NAME(row_loss)(&j->a, xt, s);
    for (long b = 0, lo = 0; lo < v; b++, lo += j->block) {
      long hi = rg_min(v, lo + j->block);
      float k = (at[b] == s.max ? 1 : v_exp(v_set(at[b] - s.max))[0]) * (scale / s.sum);
      for (long i = lo; i < hi; i += RG_WIDTH) v_store(d + i, v_load(d + i, hi - i, 0) * k - rest, hi - i);
    }
    d[t] -= scale * (1 - j->a.smoothing);
  }
}
#endif
