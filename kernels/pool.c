//go:build cgo

// Pooling of f32 planes. Maxima are taken by vectors of neighbouring windows, over a padded copy of the plane; averages
// tap by tap over whole rows; maxima of 2×2 windows of stride 2 read and write each pixel once. Windows are visited
// in row-major order and so are their taps: of equal maxima the first wins, and sums have one order.
#ifndef RG_BODY
#include <math.h>
#include <string.h>
#include "pool.h"
#include "widen.h"

typedef struct {
  const rg_pool_shape *s;
  const float *in;
  float *out;
  int32_t *idx;
  const float *cols; // per output column, the taps along W that an average divides by
  long per;          // planes per unit of work
  const int32_t *left; // per output column, the first column of x in its windows, −1 where there is none
  long hp, pitch;      // rows of a padded plane and floats per remainder in one of them
} pool_plan;

enum { UNIT_PIXELS = 1 << 14 }; // pixels per unit of work: enough to hide the hand-over

// span returns the outputs [*first,*end) of n whose tap at `shift` from the window's start lies in [0,size).
static inline void span(long n, long stride, long shift, long size, long *first, long *end) {
  *first = shift < 0 ? rg_min(n, rg_ceil_div(-shift, stride)) : 0;
  *end = size > shift ? rg_max(*first, rg_min(n, (size - 1 - shift) / stride + 1)) : *first;
}

// counted returns how many of k taps an average along one axis divides by: those inside the input, or inside the padded input.
static long counted(long start, long k, long d, long size, long after, int pad) {
  long n = 0;
  for (long t = 0; t < k; t++) n += start + t * d < size + (pad ? after : 0) && (pad || start + t * d >= 0);
  return n;
}

// first_inside returns the first position start + t·d (t < k) that lies in [0,size), −1 where none does.
static inline long first_inside(long start, long k, long d, long size) {
  for (long t = 0; t < k; t++)
    if (start + t * d >= 0 && start + t * d < size) return start + t * d;
  return -1;
}

#define RG_SELF "pool.c"
#include "rg_multi.h"

// run calls fn for all planes; the plan's input and output have `from` and `to` pixels per plane.
static void run(pool_plan *p, void (*fn)(void *, long), const void *in, long from, void *out, long to) {
  const rg_pool_shape *s = p->s;
  p->per = rg_max(1, UNIT_PIXELS / (s->h * s->w));
  p->in = rg_in(0, in, s->planes * from, s->bf16);
  p->out = rg_out(1, out, s->planes * to, s->bf16);
  rg_parallel(rg_ceil_div(s->planes, p->per), fn, p);
  rg_done(out, p->out, s->planes * to, s->bf16);
}

static int disjoint2(const rg_pool_shape *s) {
  return s->kh == 2 && s->kw == 2 && s->sh == 2 && s->sw == 2 && s->dh == 1 && s->dw == 1 && !s->pt && !s->pl && 2 * s->oh <= s->h && 2 * s->ow <= s->w;
}

static const float *columns(const rg_pool_shape *s) {
  float *c = rg_scratch(4, (size_t)s->ow * sizeof(float));
  for (long j = 0; j < s->ow; j++) c[j] = (float)counted(j * s->sw - s->pl, s->kw, s->dw, s->w, s->pr, s->count_pad);
  return c;
}

void rg_maxpool(const rg_pool_shape *s, const void *x, void *y, int32_t *idx) {
  long width = rg_ceil_div(s->ow, 16) * 16; // whole vectors, whatever their width
  int32_t *left = rg_scratch(4, (size_t)width * sizeof(int32_t));
  for (long j = 0; j < width; j++) left[j] = (int32_t)first_inside(j * s->sw - s->pl, s->kw, s->dw, s->w);
  pool_plan p = {.s = s, .idx = idx, .left = left};
  p.hp = (s->oh - 1) * s->sh + (s->kh - 1) * s->dh + 1;
  p.pitch = width + (s->kw - 1) * s->dw / s->sw + 1;
  run(&p, disjoint2(s) ? RG_DISPATCH(max2) : RG_DISPATCH(max), x, s->h * s->w, y, s->oh * s->ow);
}

void rg_maxpool_grad(const rg_pool_shape *s, const void *dy, const int32_t *idx, void *dx) {
  pool_plan p = {.s = s, .idx = (int32_t *)idx};
  run(&p, disjoint2(s) ? RG_DISPATCH(max2_grad) : RG_DISPATCH(max_grad), dy, s->oh * s->ow, dx, s->h * s->w);
}

void rg_avgpool(const rg_pool_shape *s, const void *x, void *y) {
  pool_plan p = {.s = s, .cols = columns(s)};
  run(&p, RG_DISPATCH(avg), x, s->h * s->w, y, s->oh * s->ow);
}

void rg_avgpool_grad(const rg_pool_shape *s, const void *dy, void *dx) {
  pool_plan p = {.s = s, .cols = columns(s)};
  run(&p, RG_DISPATCH(avg_grad), dy, s->oh * s->ow, dx, s->h * s->w);
}
#else
#include "rg_vec.h"

#include "pad.h"

#define EACH_PLANE(p, unit, m) \
  for (long m = (unit) * (p)->per, end_ = rg_min((p)->s->planes, m + (p)->per); m < end_; m++)

// fold takes b, at index ib, where it beats a.
static inline __attribute__((always_inline)) void RG_NAME(fold)(vf *a, vi *ia, vf b, vi ib) {
  vi take = (b > *a) | ((b != b) & (*a == *a));
  *a = (vf)(((vi)b & take) | ((vi)*a & ~take));
  *ia = (ib & take) | (*ia & ~take);
}

// store_idx writes min(k, RG_WIDTH) indices.
static inline __attribute__((always_inline)) void RG_NAME(store_idx)(int32_t *idx, vi v, long k) { v_store((float *)(void *)idx, (vf)v, k); }

static void RG_NAME(max2)(void *ctx, long unit) {
  const pool_plan *p = ctx;
  const rg_pool_shape *s = p->s;
  EACH_PLANE(p, unit, m)
  for (long i = 0; i < s->oh; i++) {
    const float *up = p->in + (m * s->h + 2 * i) * s->w, *down = up + s->w;
    float *y = p->out + (m * s->oh + i) * s->ow;
    int32_t *idx = p->idx + (m * s->oh + i) * s->ow;
    for (long j = 0; j < s->ow; j += RG_WIDTH) {
      long k = 2 * (s->ow - j), high = k > RG_WIDTH; // pixels left; whether the second vector has any
      vf u0 = v_load(up + 2 * j, k, 0), u1 = high ? v_load(up + 2 * j + RG_WIDTH, k - RG_WIDTH, 0) : u0;
      vf d0 = v_load(down + 2 * j, k, 0), d1 = high ? v_load(down + 2 * j + RG_WIDTH, k - RG_WIDTH, 0) : d0;
      vi at = 2 * (RG_LANE + (int32_t)j) + (int32_t)(2 * i * s->w), best = at;
      vf top = __builtin_shuffle(u0, u1, RG_EVEN);
      RG_NAME(fold)(&top, &best, __builtin_shuffle(u0, u1, RG_EVEN + 1), at + 1);
      RG_NAME(fold)(&top, &best, __builtin_shuffle(d0, d1, RG_EVEN), at + (int32_t)s->w);
      RG_NAME(fold)(&top, &best, __builtin_shuffle(d0, d1, RG_EVEN + 1), at + (int32_t)s->w + 1);
      v_store(y + j, top, s->ow - j);
      RG_NAME(store_idx)(idx + j, best, s->ow - j);
    }
  }
}

// The general maximum: over the padded plane no tap needs a check. A window starts at −∞ with its first pixel's index.
static void RG_NAME(max)(void *ctx, long unit) {
  const pool_plan *p = ctx;
  const rg_pool_shape *s = p->s;
  float *plane = rg_scratch(5, (size_t)(p->hp * s->sw * p->pitch) * sizeof(float));
  EACH_PLANE(p, unit, m) {
    RG_NAME(pad_plane)(plane, p->in + m * s->h * s->w, s->h, s->w, s->pt, s->pl, 0, p->hp, 1, s->sw, s->sw, p->pitch, -INFINITY);
    for (long i = 0; i < s->oh; i++) {
      int32_t row = (int32_t)first_inside(i * s->sh - s->pt, s->kh, s->dh, s->h);
      float *y = p->out + (m * s->oh + i) * s->ow;
      int32_t *idx = p->idx + (m * s->oh + i) * s->ow;
      for (long j = 0; j < s->ow; j += RG_WIDTH) {
        vf top = v_set(-INFINITY);
        vi best, none;
        memcpy(&best, p->left + j, sizeof best);
        none = (best < 0) | (row < 0 ? -1 : 0);
        best = (best + row * (int32_t)s->w) | none; // −1 where the window has no pixel
        for (long r = 0; r < s->kh; r++)
          for (long q = 0; q < s->kw; q++) {
            long h = i * s->sh + r * s->dh, w = q * s->dw;
            vi at = (RG_LANE + (int32_t)j) * (int32_t)s->sw + (int32_t)((h - s->pt) * s->w + w - s->pl);
            RG_NAME(fold)(&top, &best, v_loadu(plane + (h * s->sw + w % s->sw) * p->pitch + w / s->sw + j), at);
          }
        v_store(y + j, top, s->ow - j);
        RG_NAME(store_idx)(idx + j, best, s->ow - j);
      }
    }
  }
}

static void RG_NAME(max_grad)(void *ctx, long unit) {
  const pool_plan *p = ctx;
  const rg_pool_shape *s = p->s;
  EACH_PLANE(p, unit, m) {
    float *dx = p->out + m * s->h * s->w;
    const float *dy = p->in + m * s->oh * s->ow;
    const int32_t *idx = p->idx + m * s->oh * s->ow;
    memset(dx, 0, (size_t)(s->h * s->w) * sizeof(float));
    for (long j = 0; j < s->oh * s->ow; j++)
      if (idx[j] >= 0) dx[idx[j]] += dy[j];
  }
}

static void RG_NAME(max2_grad)(void *ctx, long unit) {
  const pool_plan *p = ctx;
  const rg_pool_shape *s = p->s;
  EACH_PLANE(p, unit, m) {
    float *dx = p->out + m * s->h * s->w;
    if (2 * s->oh < s->h) memset(dx + 2 * s->oh * s->w, 0, (size_t)((s->h - 2 * s->oh) * s->w) * sizeof(float));
    for (long i = 0; i < s->oh; i++) {
      float *up = dx + 2 * i * s->w, *down = up + s->w;
      const float *dy = p->in + (m * s->oh + i) * s->ow;
      const int32_t *idx = p->idx + (m * s->oh + i) * s->ow;
      for (long j = 0; j < s->ow; j += RG_WIDTH) {
        long k = 2 * (s->ow - j);
        vi at = (vi)v_load((const float *)(const void *)(idx + j), s->ow - j, 0);
        at -= 2 * (RG_LANE + (int32_t)j) + (int32_t)(2 * i * s->w);
        vi d = (vi)v_load(dy + j, s->ow - j, 0), row = at >= (int32_t)s->w; // maximum in the lower row
        vi right = (at - ((int32_t)s->w & row)) == 1;
        vf a = (vf)(d & ~row & ~right), b = (vf)(d & ~row & right), e = (vf)(d & row & ~right), f = (vf)(d & row & right);
        v_store(up + 2 * j, __builtin_shuffle(a, b, RG_LOW), k);
        v_store(down + 2 * j, __builtin_shuffle(e, f, RG_LOW), k);
        if (k <= RG_WIDTH) continue;
        v_store(up + 2 * j + RG_WIDTH, __builtin_shuffle(a, b, RG_LOW + RG_WIDTH / 2), k - RG_WIDTH);
        v_store(down + 2 * j + RG_WIDTH, __builtin_shuffle(e, f, RG_LOW + RG_WIDTH / 2), k - RG_WIDTH);
      }
      for (long j = 2 * s->ow; j < s->w; j++) up[j] = down[j] = 0;
    }
  }
}

static void RG_NAME(avg)(void *ctx, long unit) {
  const pool_plan *p = ctx;
  const rg_pool_shape *s = p->s;
  EACH_PLANE(p, unit, m)
  for (long i = 0; i < s->oh; i++) {
    float *restrict y = p->out + (m * s->oh + i) * s->ow;
    memset(y, 0, (size_t)s->ow * sizeof(float));
    for (long t = 0; t < s->kh * s->kw; t++) {
      long row = i * s->sh + t / s->kw * s->dh - s->pt, shift = t % s->kw * s->dw - s->pl, first, end;
      if (row < 0 || row >= s->h) continue;
      span(s->ow, s->sw, shift, s->w, &first, &end);
      const float *restrict x = p->in + (m * s->h + row) * s->w + shift;
      if (s->sw == 1)
        for (long j = first; j < end; j++) y[j] += x[j];
      else if (s->sw == 2)
        for (long j = first; j < end; j++) y[j] += x[2 * j];
      else
        for (long j = first; j < end; j++) y[j] += x[s->sw * j];
    }
    float rows = (float)counted(i * s->sh - s->pt, s->kh, s->dh, s->h, s->pb, s->count_pad);
    for (long j = 0; j < s->ow; j++) {
      float n = rows * p->cols[j];
      y[j] = n > 0 ? y[j] / n : 0;
    }
  }
}

static void RG_NAME(avg_grad)(void *ctx, long unit) {
  const pool_plan *p = ctx;
  const rg_pool_shape *s = p->s;
  float *restrict share = rg_scratch(5, (size_t)s->ow * sizeof(float));
  EACH_PLANE(p, unit, m) {
    memset(p->out + m * s->h * s->w, 0, (size_t)(s->h * s->w) * sizeof(float));
    for (long i = 0; i < s->oh; i++) {
      const float *dy = p->in + (m * s->oh + i) * s->ow;
      float rows = (float)counted(i * s->sh - s->pt, s->kh, s->dh, s->h, s->pb, s->count_pad);
      for (long j = 0; j < s->ow; j++) {
        float n = rows * p->cols[j];
        share[j] = n > 0 ? dy[j] / n : 0;
      }
      for (long t = 0; t < s->kh * s->kw; t++) {
        long row = i * s->sh + t / s->kw * s->dh - s->pt, shift = t % s->kw * s->dw - s->pl, first, end;
        if (row < 0 || row >= s->h) continue;
        span(s->ow, s->sw, shift, s->w, &first, &end);
        float *restrict dx = p->out + (m * s->h + row) * s->w + shift;
        if (s->sw == 1)
          for (long j = first; j < end; j++) dx[j] += share[j];
        else
          for (long j = first; j < end; j++) dx[s->sw * j] += share[j];
      }
    }
  }
}
#undef EACH_PLANE
#endif
