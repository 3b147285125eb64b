//go:build cgo

// Batch and group norm. With planes (NCHW) a task is a channel, or a sample's group: vectors run along a plane, sums
// over planes are kept in double precision and merged in order (Chan, Golub and LeVeque, 1983), so that x is read
// once for its statistics. With planes of one element (NC) vectors run across channels, in blocks of COLUMNS.
#ifndef RG_BODY
#include "batchnorm.h"
#include "rg.h"
#include <math.h>

enum { COLUMNS = 64 };

typedef struct {
  rg_bnorm a;
  double *sums; // group norm's gradient: (n, channels, 2), Σ dy and Σ dy·x̂ of each plane
} bnorm_job;

#define RG_SELF "batchnorm.c"
#include "rg_multi.h"

// By channel, or by block of channels where a plane is one element.
#define BY_CHANNEL(name)                                                                            \
  void rg_##name(const rg_bnorm *a) {                                                               \
    bnorm_job j = {*a, 0};                                                                          \
    if (a->plane == 1) rg_parallel(rg_ceil_div(a->channels, COLUMNS), RG_DISPATCH(name##_flat), &j); \
    else rg_parallel(a->channels, RG_DISPATCH(name), &j);                                           \
  }
BY_CHANNEL(batchnorm)
BY_CHANNEL(batchnorm_infer)
BY_CHANNEL(batchnorm_grad)

void rg_groupnorm(const rg_bnorm *a) {
  bnorm_job j = {*a, 0};
  rg_parallel(a->n * a->groups, RG_DISPATCH(groupnorm), &j);
}
void rg_groupnorm_grad(const rg_bnorm *a) {
  bnorm_job j = {*a, rg_scratch(4, (size_t)(a->n * a->channels * 2) * sizeof(double))};
  rg_parallel(a->n * a->groups, RG_DISPATCH(groupnorm_grad), &j);
  for (long c = 0; c < a->channels; c++) {
    double dbias = 0, dgain = 0;
    for (long b = 0; b < a->n; b++) {
      dbias += j.sums[(b * a->channels + c) * 2];
      dgain += j.sums[(b * a->channels + c) * 2 + 1];
    }
    a->dbias[c] = (float)dbias;
    a->dgain[c] = (float)dgain;
  }
}

#else
#include "rg_vec.h"
#define AT(p) v_load((p) + i, n - i, 0)
#define EACH(i) for (long i = 0; i < n; i += RG_WIDTH)

// Two sums over a plane.
typedef struct {
  float first, second;
} RG_NAME(pair);

// Mean and Σ (x − mean)² of one plane, which the second pass finds in cache.
RG_VEC RG_NAME(pair) RG_NAME(plane_moments)(const float *x, long n) {
  vf s = {}, t = {};
  long i = 0;
  for (; i + 2 * RG_WIDTH <= n; i += 2 * RG_WIDTH) {
    s += v_loadu(x + i);
    t += v_loadu(x + i + RG_WIDTH);
  }
  for (; i < n; i += RG_WIDTH) s += AT(x);
  float mean = v_sum(s + t) / (float)n;
  s = t = (vf){};
  for (i = 0; i + 2 * RG_WIDTH <= n; i += 2 * RG_WIDTH) {
    vf a = v_loadu(x + i) - mean, b = v_loadu(x + i + RG_WIDTH) - mean;
    s += a * a;
    t += b * b;
  }
  for (; i < n; i += RG_WIDTH) {
    vf a = v_load(x + i, n - i, mean) - mean;
    s += a * a;
  }
  return (RG_NAME(pair)){mean, v_sum(s + t)};
}

// The moments of `count` planes, `stride` elements apart, merged: with δ the difference between plane k's mean and
// that of the k planes before, mean += δ/(k+1), M₂ += M₂ₖ + δ²·n·k/(k+1).
RG_VEC void RG_NAME(moments)(const float *x, long count, long stride, long n, double *mean, double *var) {
  double m = 0, m2 = 0;
  for (long k = 0; k < count; k++) {
    RG_NAME(pair) p = RG_NAME(plane_moments)(x + k * stride, n);
    double delta = p.first - m;
    m += delta / (double)(k + 1);
    m2 += p.second + delta * delta * (double)n * (double)k / (double)(k + 1);
  }
  *mean = m;
  *var = m2 / ((double)n * (double)count);
}

// y = (x − mean)·scale + bias
RG_VEC void RG_NAME(apply)(float *y, const float *x, long n, float mean, float scale, float bias) {
  EACH(i) v_store(y + i, (AT(x) - mean) * scale + bias, n - i);
}

// Σ dy and Σ dy·(x − mean)
RG_VEC RG_NAME(pair) RG_NAME(dots)(const float *dy, const float *x, long n, float mean) {
  vf s = {}, t = {};
  EACH(i) {
    vf d = AT(dy);
    s += d;
    t += d * (AT(x) - mean);
  }
  return (RG_NAME(pair)){v_sum(s), v_sum(t)};
}

// dx = dy·scale − (x − mean)·slope − shift
RG_VEC void RG_NAME(unapply)(float *dx, const float *dy, const float *x, long n, float mean, float scale, float slope, float shift) {
  EACH(i) v_store(dx + i, AT(dy) * scale - (AT(x) - mean) * slope - shift, n - i);
}

static void RG_NAME(batchnorm)(void *ctx, long c) {
  const rg_bnorm *a = &((const bnorm_job *)ctx)->a;
  const long p = a->plane, stride = a->channels * p;
  double mean, var;
  RG_NAME(moments)(a->x + c * p, a->n, stride, p, &mean, &var);
  float scale = a->gain[c] / (float)sqrt(var + a->eps);
  for (long b = 0; b < a->n; b++) RG_NAME(apply)(a->y + b * stride + c * p, a->x + b * stride + c * p, p, (float)mean, scale, a->bias[c]);
  a->mean[c] = (float)mean;
  a->var[c] = (float)var;
}

static void RG_NAME(batchnorm_infer)(void *ctx, long c) {
  const rg_bnorm *a = &((const bnorm_job *)ctx)->a;
  const long p = a->plane, stride = a->channels * p;
  float scale = a->gain[c] / sqrtf(a->var[c] + a->eps);
  for (long b = 0; b < a->n; b++) RG_NAME(apply)(a->y + b * stride + c * p, a->x + b * stride + c * p, p, a->mean[c], scale, a->bias[c]);
}

// dbias = Σ dy, dgain = Σ dy·x̂, dx = gain·rstd·(dy − dbias/M − x̂·dgain/M)
static void RG_NAME(batchnorm_grad)(void *ctx, long c) {
  const rg_bnorm *a = &((const bnorm_job *)ctx)->a;
  const long p = a->plane, stride = a->channels * p;
  const double count = (double)(a->n * p), rstd = 1 / sqrt((double)a->var[c] + a->eps);
  const float mean = a->mean[c];
  double dbias = 0, dot = 0;
  for (long b = 0; b < a->n; b++) {
    RG_NAME(pair) s = RG_NAME(dots)(a->dy + b * stride + c * p, a->x + b * stride + c * p, p, mean);
    dbias += s.first;
    dot += s.second;
  }
  const double scale = a->gain[c] * rstd;
  const float slope = (float)(scale * dot * rstd * rstd / count), shift = (float)(scale * dbias / count);
  for (long b = 0; b < a->n; b++) {
    long at = b * stride + c * p;
    RG_NAME(unapply)(a->dx + at, a->dy + at, a->x + at, p, mean, (float)scale, slope, shift);
  }
  a->dgain[c] = (float)(dot * rstd);
  a->dbias[c] = (float)dbias;
}

// --- planes of one element ---

// In the flat forms a block's columns are summed side by side, row by row, so that memory is read in its order;
// lo is the block's first column, n how many it has.
#define FLAT                                                                        \
  const rg_bnorm *a = &((const bnorm_job *)ctx)->a;                                 \
  const long ch = a->channels, lo = block * COLUMNS, n = rg_min(ch - lo, COLUMNS)
#define ROWS(b) for (long b = 0; b < a->n; b++)

static void RG_NAME(batchnorm_flat)(void *ctx, long block) {
  FLAT;
  float *mean = a->mean + lo, *var = a->var + lo, scale[COLUMNS];
  const float *gain = a->gain + lo, *bias = a->bias + lo;
  memset(mean, 0, (size_t)n * sizeof(float));
  memset(var, 0, (size_t)n * sizeof(float));
  ROWS(b) {
    const float *x = a->x + b * ch + lo;
    EACH(i) v_store(mean + i, AT(mean) + AT(x), n - i);
  }
  EACH(i) v_store(mean + i, AT(mean) / (float)a->n, n - i);
  ROWS(b) {
    const float *x = a->x + b * ch + lo;
    EACH(i) {
      vf d = AT(x) - AT(mean);
      v_store(var + i, AT(var) + d * d, n - i);
    }
  }
  EACH(i) {
    v_store(var + i, AT(var) / (float)a->n, n - i);
    v_store(scale + i, AT(gain) / v_sqrt(AT(var) + a->eps), n - i);
  }
  ROWS(b) {
    const float *x = a->x + b * ch + lo;
    float *y = a->y + b * ch + lo;
    EACH(i) v_store(y + i, (AT(x) - AT(mean)) * AT(scale) + AT(bias), n - i);
  }
}

static void RG_NAME(batchnorm_infer_flat)(void *ctx, long block) {
  FLAT;
  float scale[COLUMNS];
  const float *mean = a->mean + lo, *var = a->var + lo, *gain = a->gain + lo, *bias = a->bias + lo;
  EACH(i) v_store(scale + i, AT(gain) / v_sqrt(AT(var) + a->eps), n - i);
  ROWS(b) {
    const float *x = a->x + b * ch + lo;
    float *y = a->y + b * ch + lo;
    EACH(i) v_store(y + i, (AT(x) - AT(mean)) * AT(scale) + AT(bias), n - i);
  }
}

static void RG_NAME(batchnorm_grad_flat)(void *ctx, long block) {
  FLAT;
  const float *mean = a->mean + lo, *var = a->var + lo, *gain = a->gain + lo;
  float *dgain = a->dgain + lo, *dbias = a->dbias + lo, scale[COLUMNS], slope[COLUMNS], shift[COLUMNS];
  memset(dgain, 0, (size_t)n * sizeof(float));
  memset(dbias, 0, (size_t)n * sizeof(float));
  ROWS(b) {
    const float *x = a->x + b * ch + lo, *dy = a->dy + b * ch + lo;
    EACH(i) {
      v_store(dbias + i, AT(dbias) + AT(dy), n - i);
      v_store(dgain + i, AT(dgain) + AT(dy) * (AT(x) - AT(mean)), n - i);
    }
  }
  EACH(i) {
    vf rstd = 1 / v_sqrt(AT(var) + a->eps);
    v_store(dgain + i, AT(dgain) * rstd, n - i);
    v_store(scale + i, AT(gain) * rstd, n - i);
    v_store(slope + i, AT(dgain) * rstd / (float)a->n, n - i);
    v_store(shift + i, AT(dbias) / (float)a->n, n - i);
  }
  ROWS(b) {
    const float *x = a->x + b * ch + lo, *dy = a->dy + b * ch + lo;
    float *dx = a->dx + b * ch + lo;
    EACH(i) v_store(dx + i, (AT(dy) - (AT(x) - AT(mean)) * AT(slope) - AT(shift)) * AT(scale), n - i);
  }
}

// --- group norm: task g is group g % groups of sample g / groups, whose memory is contiguous ---

static void RG_NAME(groupnorm)(void *ctx, long g) {
  const rg_bnorm *a = &((const bnorm_job *)ctx)->a;
  const long per = a->channels / a->groups, p = a->plane, at = g * per * p, first = g % a->groups * per;
  double mean, var;
  RG_NAME(moments)(a->x + at, 1, 0, per * p, &mean, &var);
  const float rstd = (float)(1 / sqrt(var + a->eps));
  for (long c = 0; c < per; c++)
    RG_NAME(apply)(a->y + at + c * p, a->x + at + c * p, p, (float)mean, rstd * a->gain[first + c], a->bias[first + c]);
  a->mean[g] = (float)mean;
  a->var[g] = rstd;
}

// dx = rstd·(w − mean(w) − x̂·mean(w·x̂)), w = dy·gain
static void RG_NAME(groupnorm_grad)(void *ctx, long g) {
  const bnorm_job *j = ctx;
  const rg_bnorm *a = &j->a;
  const long per = a->channels / a->groups, p = a->plane, at = g * per * p, first = g % a->groups * per;
  const float mean = a->mean[g];
  const double rstd = a->var[g], count = (double)(per * p);
  double sw = 0, swx = 0;
  for (long c = 0; c < per; c++) {
    RG_NAME(pair) s = RG_NAME(dots)(a->dy + at + c * p, a->x + at + c * p, p, mean);
    double *sums = j->sums + (g * per + c) * 2;
    sums[0] = s.first;
    sums[1] = s.second * rstd;
    sw += a->gain[first + c] * sums[0];
    swx += a->gain[first + c] * sums[1];
  }
  const float slope = (float)(rstd * rstd * swx / count), shift = (float)(rstd * sw / count);
  for (long c = 0; c < per; c++) {
    const long k = at + c * p;
    RG_NAME(unapply)(a->dx + k, a->dy + k, a->x + k, p, mean, (float)(rstd * a->gain[first + c]), slope, shift);
  }
}
#undef AT
#undef EACH
#undef FLAT
#undef ROWS
#endif
