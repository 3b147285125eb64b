//go:build cgo

// The derivative of conv2d by its weights, a matrix product over the pixels of all images:
//
//	dw[o, c, t] = Σ_{n,p} dy[n, o, p] · x[n, c, pos(p) + off(t)]
//
// Vectors run over output channels, the register tile's rows over neighbouring input channels of one tap. Both
// factors are turned to channels-last first: dy by blocks of lanes for a band of rows at a time, x as a padded image. Where there
// are few input channels, x becomes columns [pixel][c·taps + t] (im2col) instead, and those take the channels' place.
//
// Images are cut into chunks whose number follows from the shape alone; each chunk sums in order into its own copy of
// dw, and the copies are added in order.
#ifndef RG_BODY
#include <string.h>
#include "conv.h"
#include "widen.h"

typedef struct {
  const rg_conv_shape *s;
  const float *x, *dy;
  float *dw, *part;      // part: [chunk][group][block][c][tap][lane]
  long cg, og, taps, k;  // channels per group, taps of the kernel, k = cg·taps
  long blocks, chunks, sets;
  long hp, wp;           // padded image, where columns is 0
  int columns;           // im2col
} dw_plan;

enum {
  UNITS = 16,            // units of work to aim for
  PART_FLOATS = 1 << 20, // and the memory that copies of dw may take for that
  DEPTH = 192,           // pixels per pass of a register tile: 24 KiB of dy at 32 lanes, half of a first-level cache
  FEW = 8,               // input channels below which im2col is used
};

#define RG_SELF "conv_dw.c"
#include "rg_multi.h"

static void conv_dw(const rg_conv_shape *s, const float *x, const float *dy, float *dw) {
  dw_plan p = {.s = s, .x = x, .dy = dy, .dw = dw, .cg = s->c / s->g, .og = s->o / s->g, .taps = s->kh * s->kw};
  p.k = p.cg * p.taps;
  p.columns = p.cg < FEW && p.taps > 1;
  p.hp = (s->oh - 1) * s->sh + (s->kh - 1) * s->dh + 1;
  p.wp = (s->ow - 1) * s->sw + (s->kw - 1) * s->dw + 1;
  RG_DISPATCH(dw_run)(&p);
}

void rg_conv2d_dw(const rg_conv_shape *s, const void *x, const void *dy, void *dw) {
  float *out = rg_out(3, dw, rg_conv_w(s), s->bf16);
  (rg_depthwise_fits(s) ? rg_depthwise_dw : conv_dw)(s, rg_in(0, x, rg_conv_x(s), s->bf16), rg_in(1, dy, rg_conv_y(s), s->bf16), out);
  rg_done(dw, out, rg_conv_w(s), s->bf16);
}

// The bias's derivative: per channel, the sums of its planes, added in the order of images.
typedef struct {
  long n, c, hw;
  const float *dy;
  float *db;
} db_plan;

static void db_channel(void *ctx, long c) {
  const db_plan *p = ctx;
  float total = 0;
  for (long n = 0; n < p->n; n++) total += RG_DISPATCH(plane_sum)(p->dy + (n * p->c + c) * p->hw, p->hw);
  p->db[c] = total;
}

void rg_conv2d_db(const rg_conv_shape *s, const void *dy, void *db) {
  float *out = rg_out(3, db, s->o, s->bf16);
  db_plan p = {s->n, s->o, s->oh * s->ow, rg_in(0, dy, rg_conv_y(s), s->bf16), out};
  rg_parallel(s->o, db_channel, &p);
  rg_done(db, out, s->o, s->bf16);
}
#else
#include "conv_pack.h"

// tile adds, over pixels of m images, dy[pixel][lane]·x[pixel][column] into part[column·cs + lane].
static inline __attribute__((always_inline)) void RG_NAME(dw_body)(const int P, const int NV, const float *dy, const float *x, long m, long ximage, long rows,
                                                                   long xrow, long cols, long xcol, float *part, long cs) {
  vf acc[TILE][2];
#pragma GCC unroll 16
  for (int p = 0; p < P; p++)
#pragma GCC unroll 2
    for (int v = 0; v < NV; v++) acc[p][v] = (vf){};
  for (long n = 0; n < m; n++)
    for (long i = 0; i < rows; i++) {
      const float *xp = x + n * ximage + i * xrow;
      for (long j = 0; j < cols; j++, xp += xcol, dy += NV * RG_WIDTH) {
        vf d[2];
#pragma GCC unroll 2
        for (int v = 0; v < NV; v++) d[v] = v_loadu(dy + v * RG_WIDTH);
#pragma GCC unroll 16
        for (int p = 0; p < P; p++)
#pragma GCC unroll 2
          for (int v = 0; v < NV; v++) acc[p][v] += d[v] * xp[p];
      }
    }
#pragma GCC unroll 16
  for (int p = 0; p < P; p++)
#pragma GCC unroll 2
    for (int v = 0; v < NV; v++) v_storeu(part + p * cs + v * RG_WIDTH, v_loadu(part + p * cs + v * RG_WIDTH) + acc[p][v]);
}

typedef void (*RG_NAME(dw_fn))(const float *, const float *, long, long, long, long, long, long, float *, long);
#define TILE_FN(P, NV)                                                                                                                \
  static void RG_NAME(dw_##P##_##NV)(const float *dy, const float *x, long m, long ximage, long rows, long xrow, long cols, long xcol, \
                                     float *part, long cs) {                                                                          \
    RG_NAME(dw_body)(P, NV, dy, x, m, ximage, rows, xrow, cols, xcol, part, cs);                                                      \
  }
#define BOTH(P) TILE_FN(P, 1) TILE_FN(P, 2)
#define ROW(P) {RG_NAME(dw_##P##_1), RG_NAME(dw_##P##_2)}
BOTH(1) BOTH(2) BOTH(3) BOTH(4) BOTH(5) BOTH(6)
#if TILE == 14
BOTH(7) BOTH(8) BOTH(9) BOTH(10) BOTH(11) BOTH(12) BOTH(13) BOTH(14)
static const RG_NAME(dw_fn) RG_NAME(dw_tiles)[15][2] = {{0}, ROW(1), ROW(2), ROW(3), ROW(4), ROW(5), ROW(6), ROW(7), ROW(8), ROW(9), ROW(10), ROW(11), ROW(12), ROW(13), ROW(14)};
#else
static const RG_NAME(dw_fn) RG_NAME(dw_tiles)[7][2] = {{0}, ROW(1), ROW(2), ROW(3), ROW(4), ROW(5), ROW(6)};
#endif
#undef TILE_FN
#undef BOTH
#undef ROW

// width returns how many lanes block b of a group's output channels takes: one vector or two.
static inline long RG_NAME(dw_width)(const dw_plan *p, long b) { return p->og - b * LANES > RG_WIDTH ? LANES : RG_WIDTH; }

// last_image turns one image's group of channels into dst [hp][wp][cg], zeros outside x.
static void RG_NAME(last_image)(const dw_plan *p, float *dst, const float *src) {
  const rg_conv_shape *s = p->s;
  long top = s->pt, left = s->pl, cg = p->cg;
  if (!top && !left && p->hp <= s->h && p->wp == s->w) {
    RG_NAME(transpose)(dst, cg, src, s->h * s->w, cg, p->hp * s->w);
    return;
  }
  long w = rg_max(0, rg_min(s->w, p->wp - left));
  for (long i = 0; i < p->hp; i++, dst += p->wp * cg) {
    long r = i - top;
    if (r < 0 || r >= s->h || !w) {
      memset(dst, 0, (size_t)(p->wp * cg) * sizeof(float));
      continue;
    }
    memset(dst, 0, (size_t)(left * cg) * sizeof(float));
    RG_NAME(transpose)(dst + left * cg, cg, src + r * s->w, s->h * s->w, cg, w);
    memset(dst + (left + w) * cg, 0, (size_t)((p->wp - left - w) * cg) * sizeof(float));
  }
}

// columns writes output rows [r0,r1) of one image as dst [pixel][c·taps + t], by way of rows [c·taps + t][pixel].
static void RG_NAME(columns)(const dw_plan *p, float *dst, const float *src, long r0, long r1) {
  const rg_conv_shape *s = p->s;
  long pixels = (r1 - r0) * s->ow;
  float *rows = rg_scratch(7, (size_t)(p->k * pixels) * sizeof(float)), *to = rows;
  for (long k = 0; k < p->k; k++) {
    long c = k / p->taps, t = k % p->taps, down = t / s->kw * s->dh - s->pt, right = t % s->kw * s->dw - s->pl;
    long first = rg_min(s->ow, right < 0 ? rg_ceil_div(-right, s->sw) : 0);
    long end = s->w > right ? rg_max(first, rg_min(s->ow, (s->w - 1 - right) / s->sw + 1)) : first;
    for (long i = r0; i < r1; i++, to += s->ow) {
      long r = i * s->sh + down, j = 0;
      if (r < 0 || r >= s->h) {
        memset(to, 0, (size_t)s->ow * sizeof(float));
        continue;
      }
      const float *from = src + (c * s->h + r) * s->w + right;
      for (; j < first; j++) to[j] = 0;
      if (s->sw == 1)
        for (; j < end; j++) to[j] = from[j];
      else if (s->sw == 2)
        for (; j < end; j++) to[j] = from[2 * j];
      else
        for (; j < end; j++) to[j] = from[s->sw * j];
      for (; j < s->ow; j++) to[j] = 0;
    }
  }
  RG_NAME(transpose)(dst, p->k, rows, pixels, p->k, pixels);
}

// block_pass adds rows [r0,r1) of images n … n+m−1 to one block's sums. x holds the channels-last images, or the columns of these rows.
static void RG_NAME(block_pass)(const dw_plan *p, const float *x, long n, long m, long g, long b, long r0, long r1, float *part) {
  const rg_conv_shape *s = p->s;
  long lanes = RG_NAME(dw_width)(p, b), used = rg_min(lanes, p->og - b * LANES), hw = s->oh * s->ow, band = (r1 - r0) * s->ow;
  float *dy = rg_scratch(6, (size_t)(m * band * lanes) * sizeof(float));
  if (used < lanes) memset(dy, 0, (size_t)(m * band * lanes) * sizeof(float));
  for (long i = 0; i < m; i++)
    RG_NAME(transpose)(dy + i * band * lanes, lanes, p->dy + (((n + i) * s->g + g) * p->og + b * LANES) * hw + r0 * s->ow, hw, used, band);
  long width = p->columns ? p->k : p->cg, tiles = rg_ceil_div(width, TILE), taps = p->columns ? 1 : p->taps;
  long xcol = p->columns ? p->k : s->sw * p->cg, xrow = p->columns ? s->ow * p->k : s->sh * p->wp * p->cg;
  for (long i = 0; i < tiles; i++) {
    long c = width * i / tiles, cols = width * (i + 1) / tiles - c;
    for (long t = 0; t < taps; t++) {
      const float *from = p->columns ? x + c : x + ((r0 * s->sh + t / s->kw * s->dh) * p->wp + t % s->kw * s->dw) * p->cg + c;
      RG_NAME(dw_tiles)[cols][lanes / RG_WIDTH - 1](dy, from, m, p->hp * p->wp * p->cg, r1 - r0, xrow, s->ow, xcol, part + (c * taps + t) * lanes, taps * lanes);
    }
  }
}

// dw_unit sums one chunk of images into one set of blocks of one group.
static void RG_NAME(dw_unit)(void *ctx, long unit) {
  const dw_plan *p = ctx;
  const rg_conv_shape *s = p->s;
  long set = unit % p->sets, g = unit / p->sets % s->g, chunk = unit / (p->sets * s->g);
  long b0 = p->blocks * set / p->sets, b1 = p->blocks * (set + 1) / p->sets;
  long n0 = s->n * chunk / p->chunks, n1 = s->n * (chunk + 1) / p->chunks, image = p->hp * p->wp * p->cg;
  long step = rg_max(1, rg_min(s->oh, DEPTH / s->ow)); // rows per pass
  long most = p->columns ? 1 : rg_max(1, DEPTH / (s->oh * s->ow)); // images per pass, where they are small
  float *part = p->part + (chunk * s->g + g) * p->blocks * LANES * p->k;
  memset(part + b0 * LANES * p->k, 0, (size_t)((b1 - b0) * LANES * p->k) * sizeof(float));
  for (long n = n0, m; n < n1; n += m) {
    m = rg_min(most, n1 - n);
    float *x = rg_scratch(5, (size_t)(p->columns ? step * s->ow * p->k : m * image) * sizeof(float));
    for (long i = 0; i < m && !p->columns; i++) RG_NAME(last_image)(p, x + i * image, p->x + ((n + i) * s->g + g) * p->cg * s->h * s->w);
    for (long r = 0; r < s->oh; r += step) {
      long end = rg_min(s->oh, r + step);
      if (p->columns) RG_NAME(columns)(p, x, p->x + (n * s->g + g) * p->cg * s->h * s->w, r, end);
      for (long b = b0; b < b1; b++) RG_NAME(block_pass)(p, x, n, m, g, b, r, end, part + b * LANES * p->k);
    }
  }
}

// dw_sum adds the chunks of one block in order and turns the sum to [o][c][tap].
static void RG_NAME(dw_sum)(void *ctx, long unit) {
  const dw_plan *p = ctx;
  long g = unit / p->blocks, b = unit % p->blocks, lanes = RG_NAME(dw_width)(p, b), size = p->s->g * p->blocks * LANES * p->k;
  float *sum = p->part + unit * LANES * p->k;
  for (long i = 1; i < p->chunks; i++)
    for (long j = 0; j < lanes * p->k; j++) sum[j] += sum[i * size + j];
  RG_NAME(transpose)(p->dw + (g * p->og + b * LANES) * p->k, p->k, sum, lanes, p->k, rg_min(lanes, p->og - b * LANES));
}

static void RG_NAME(dw_run)(dw_plan *p) {
  const rg_conv_shape *s = p->s;
  p->blocks = rg_ceil_div(p->og, LANES);
  long size = s->g * p->blocks * LANES * p->k;
  p->chunks = rg_max(1, rg_min(rg_min(s->n, UNITS), PART_FLOATS / size));
  p->sets = rg_min(p->blocks, rg_ceil_div(UNITS, p->chunks * s->g));
  p->part = rg_scratch(4, (size_t)(p->chunks * size) * sizeof(float));
  rg_parallel(p->chunks * s->g * p->sets, RG_NAME(dw_unit), p);
  rg_parallel(s->g * p->blocks, RG_NAME(dw_sum), p);
}

// plane_sum adds n floats: 4 vectors of partial sums, then lane by lane, then the rest.
static float RG_NAME(plane_sum)(const float *x, long n) {
  vf a[4] = {};
  long i = 0;
  for (; i + 4 * RG_WIDTH <= n; i += 4 * RG_WIDTH)
    for (int k = 0; k < 4; k++) a[k] += v_loadu(x + i + k * RG_WIDTH);
  a[0] = (a[0] + a[1]) + (a[2] + a[3]);
  float s = 0;
  for (int k = 0; k < RG_WIDTH; k++) s += a[0][k];
  for (; i < n; i++) s += x[i];
  return s;
}
#undef TILE
#undef LANES
#undef TBLOCK
#endif
