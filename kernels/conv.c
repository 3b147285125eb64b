//go:build cgo

// conv2d and its derivative by the input, as one engine: both are sums over taps of a shifted source.
//
//	out[o, p] = Σ_{c,t} src[c, pos(p) + off(t)] · w[c,t,o]
//
// Vectors run over output channels o, the tile's rows over neighbouring pixels p of an output row, so weights
// are repacked to [block of o][c][t][lanes] once per call, source values are broadcast, and each tile of
// results is turned from [pixel][lane] to NCHW when a band of rows is complete. The source is read in place
// where nothing is padded; else each image is copied into a padded plane whose columns are sorted by their
// remainder modulo the stride, so that neighbouring outputs always read neighbouring floats.
//
// A forward convolution is one lattice of output pixels with all taps. In dx of a convolution of stride s, the pixels of
// one remainder modulo s see the same subset of taps of dy: s·s lattices, no multiplications by zeros.
//
// Every output is summed over c then t, in that order, whatever the number of threads.
#ifndef RG_BODY
#include <string.h>
#include "conv.h"
#include "widen.h"

// Output rows h0 + u·hs (u < nh), columns w0 + v·ws (v < nw), all from the same taps.
typedef struct {
  long h0, hs, nh, w0, ws, nw;
  long base, row; // where output (0,0)'s window starts in a padded plane, and the step to the next output row
  long src0, src; // the same in source rows: the window of output row u starts at row src0 + u·src
  long tap0, ntaps;
} lattice;

typedef struct {
  long n, g;              // images, groups
  long cg, h, w;          // source channels per group, rows, columns
  long og, oh, ow;        // output channels per group, rows, columns
  long top, left, hp, wp; // padded plane: source row i lies at i + top, and so on
  long hop;               // source rows between rows of the plane: a kernel one tap high skips what its stride does
  long phases, parts, wq; // column j of the padded row lies at (j mod phases)·wq + j/phases; parts of wq columns exist
  long num, den, reach;   // output row r reads padded rows ⌊r·num/den⌋ … ⌊r·num/den⌋ + reach − 1 at most
  long kernel, taps;      // kh·kw, and how many of them any output reads
  long nlattice;
  lattice *lat;
  int *off;   // per tap, distance from a window's start
  int *down;  // per tap, source rows below a window's start; rises or falls with the tap
  int *order; // per tap, its index in the kernel
  int direct, flipped, relu;
  const float *src, *weight, *bias;
  float *dst, *pack, *init; // packed weights; the bias by lanes, zeros where there is none
  long blocks, sets, bands; // blocks of output channels; an image's work is cut into sets of blocks and bands of rows
} engine;

enum {
  MIN_UNITS = 8,         // units of work below which images are cut further, for balance between threads
  BAND_PIXELS = 192,     // pixels a unit keeps before it writes them out: 24 KiB at 32 lanes, half of a first-level cache
  PACK_FLOATS = 1 << 13, // floats of weights between two writes of the sums: 32 KiB, so that they stay in the first-level cache
};

#define RG_SELF "conv.c"
#include "rg_multi.h"

static void plan_memory(engine *e, long lattices) {
  char *m = rg_scratch(6, (size_t)lattices * sizeof(lattice) + 3 * (size_t)e->kernel * sizeof(int));
  e->lat = (lattice *)m;
  e->off = (int *)(m + lattices * sizeof(lattice));
  e->order = e->off + e->kernel;
  e->down = e->order + e->kernel;
}

// settle fixes the row pitch. In-place reading is left where channels lie a multiple of 4 KiB apart: they would
// compete for one set of the first-level cache.
static void settle(engine *e) {
  e->direct = !e->top && !e->left && e->hp <= e->h && e->wp <= e->w && e->phases == 1 && e->hop == 1 && (e->h * e->w * 4) % 4096 != 0;
  if (e->direct) e->hp = e->h, e->wp = e->w;
  e->wq = rg_ceil_div(e->wp, e->phases);
}

static void plan_forward(engine *e, const rg_conv_shape *s) {
  e->cg = s->c / s->g, e->h = s->h, e->w = s->w;
  e->og = s->o / s->g, e->oh = s->oh, e->ow = s->ow;
  e->top = s->pt, e->left = s->pl, e->phases = s->sw, e->parts = s->kw == 1 ? 1 : s->sw;
  e->hop = s->kh == 1 ? s->sh : 1;
  e->num = s->sh / e->hop, e->den = 1, e->reach = (s->kh - 1) * s->dh + 1;
  e->hp = (e->oh - 1) * e->num + e->reach;
  e->wp = (e->ow - 1) * s->sw + (s->kw - 1) * s->dw + 1;
  settle(e);
  plan_memory(e, 1);
  e->nlattice = 1, e->taps = e->kernel;
  e->lat[0] = (lattice){0, 1, e->oh, 0, 1, e->ow, 0, e->num * e->parts * e->wq, -s->pt, s->sh, 0, e->taps};
  for (long t = 0; t < e->taps; t++) {
    long r = t / s->kw, col = t % s->kw * s->dw;
    e->off[t] = (int)((r * s->dh * e->parts + col % s->sw) * e->wq + col / s->sw);
    e->order[t] = (int)t;
    e->down[t] = (int)(r * s->dh);
  }
}

// dx[h] takes dy[i] through tap r where h + top = i·s + r·d. With h = a + s·u: i = u + (a + top − r·d)/s.
static void plan_dx(engine *e, const rg_conv_shape *s) {
  e->cg = s->o / s->g, e->h = s->oh, e->w = s->ow;
  e->og = s->c / s->g, e->oh = s->h, e->ow = s->w;
  e->phases = e->parts = e->hop = 1, e->flipped = 1;
  e->top = rg_max(0, rg_ceil_div((s->kh - 1) * s->dh - s->pt + s->sh, s->sh) - 1);
  e->left = rg_max(0, rg_ceil_div((s->kw - 1) * s->dw - s->pl + s->sw, s->sw) - 1);
  e->num = 1, e->den = s->sh, e->reach = e->top + s->pt / s->sh + 2;
  e->hp = e->top + (s->h - 1 + s->pt) / s->sh + 1;
  e->wp = e->left + (s->w - 1 + s->pl) / s->sw + 1;
  settle(e);
  long nh = rg_min(s->sh, s->h), nw = rg_min(s->sw, s->w);
  plan_memory(e, nh * nw);
  for (long a = 0; a < nh; a++)
    for (long b = 0; b < nw; b++) {
      lattice *l = &e->lat[e->nlattice++];
      *l = (lattice){a,    s->sh,    (s->h - 1 - a) / s->sh + 1, b, s->sw, (s->w - 1 - b) / s->sw + 1, e->top * e->wq + e->left,
                     e->wq, 0, 1, e->taps, 0};
      for (long t = 0; t < e->kernel; t++) {
        long i = a + s->pt - t / s->kw * s->dh, j = b + s->pl - t % s->kw * s->dw;
        if (i % s->sh || j % s->sw) continue;
        e->off[e->taps] = (int)(i / s->sh * e->wq + j / s->sw);
        e->down[e->taps] = (int)(i / s->sh);
        e->order[e->taps++] = (int)t;
        l->ntaps++;
      }
    }
}

// A 1×1 kernel of stride 1 sees pixels alone: rows of any length will do, and long ones leave fewer odd tiles.
static rg_conv_shape flatten(rg_conv_shape s) {
  if (s.kh != 1 || s.kw != 1 || s.sh != 1 || s.sw != 1 || s.h != s.oh || s.w != s.ow || s.pt || s.pl) return s;
  long hw = s.h * s.w, w = s.w;
  for (long d = w; d <= rg_min(hw, 448); d++)
    if (hw % d == 0) w = d;
  s.w = s.ow = w, s.h = s.oh = hw / w;
  return s;
}

static void conv_y(const rg_conv_shape *shape, const float *x, const float *w, const float *bias, float *y) {
  rg_conv_shape s = flatten(*shape);
  engine e = {.n = s.n, .g = s.g, .kernel = s.kh * s.kw, .src = x, .weight = w, .bias = bias, .dst = y, .relu = s.relu};
  plan_forward(&e, &s);
  RG_DISPATCH(engine_run)(&e);
}

static void conv_dx(const rg_conv_shape *shape, const float *dy, const float *w, float *dx) {
  rg_conv_shape s = flatten(*shape);
  engine e = {.n = s.n, .g = s.g, .kernel = s.kh * s.kw, .src = dy, .weight = w, .dst = dx};
  plan_dx(&e, &s);
  RG_DISPATCH(engine_run)(&e);
}

// Slots 0 to 3, which no matrix product uses here, hold the f32 copies of bf16 tensors.
void rg_conv2d(const rg_conv_shape *s, const void *x, const void *w, const void *bias, void *y) {
  float *out = rg_out(3, y, rg_conv_y(s), s->bf16);
  (rg_depthwise_fits(s) ? rg_depthwise : conv_y)(s, rg_in(0, x, rg_conv_x(s), s->bf16), rg_in(1, w, rg_conv_w(s), s->bf16),
                                                 rg_in(2, bias, s->o, s->bf16), out);
  rg_done(y, out, rg_conv_y(s), s->bf16);
}

void rg_conv2d_dx(const rg_conv_shape *s, const void *dy, const void *w, void *dx) {
  float *out = rg_out(3, dx, rg_conv_x(s), s->bf16);
  (rg_depthwise_fits(s) ? rg_depthwise_dx : conv_dx)(s, rg_in(0, dy, rg_conv_y(s), s->bf16), rg_in(1, w, rg_conv_w(s), s->bf16), out);
  rg_done(dx, out, rg_conv_x(s), s->bf16);
}
#else
#include "conv_pack.h"
#include "conv_tile.h"
#include "pad.h"

// width returns how many lanes block b of a group's output channels is packed to: one vector or two.
static inline long RG_NAME(width)(const engine *e, long b) { return e->og - b * LANES > RG_WIDTH ? LANES : RG_WIDTH; }

// pack writes block b of group g as [lattice][c][tap][lane], with zeros in lanes without a channel.
static void RG_NAME(pack)(void *ctx, long unit) {
  const engine *e = ctx;
  long g = unit / e->blocks, b = unit % e->blocks, o0 = b * LANES;
  long lanes = RG_NAME(width)(e, b), used = rg_min(lanes, e->og - o0), k = e->cg * e->taps;
  float *dst = e->pack + unit * LANES * k, *init = e->init + unit * LANES;
  for (long i = 0; i < LANES; i++) init[i] = e->bias && i < used ? e->bias[g * e->og + o0 + i] : 0;
  if (used < lanes) memset(dst, 0, (size_t)(lanes * k) * sizeof(float));
  if (!e->flipped) { // w is [o][c][tap]: one transposition
    RG_NAME(transpose)(dst, lanes, e->weight + (g * e->og + o0) * k, k, used, k);
    return;
  }
  for (long l = 0; l < e->nlattice; l++) // w is [source channel][output channel][tap of the kernel]
    for (long c = 0; c < e->cg; c++) {
      const float *w = e->weight + ((g * e->cg + c) * e->og + o0) * e->kernel;
      for (long t = e->lat[l].tap0; t < e->lat[l].tap0 + e->lat[l].ntaps; t++, dst += lanes)
        for (long i = 0; i < used; i++) dst[i] = w[i * e->kernel + e->order[t]];
    }
}

// rows computes output rows [r0,r1) of one block into out, [pixel][lane].
static void RG_NAME(rows)(const engine *e, const float *src, long plane, long unit, long r0, long r1, float *out) {
  long lanes = RG_NAME(width)(e, unit % e->blocks), nv = lanes / RG_WIDTH;
  long step = rg_max(1, PACK_FLOATS / (e->taps * lanes + 1));
  for (long c0 = 0; c0 < e->cg; c0 += step) {
    long nc = rg_min(step, e->cg - c0);
    for (long k = 0; k < e->nlattice; k++) {
      const lattice *l = &e->lat[k];
      const float *w = e->pack + (unit * LANES * e->taps + l->tap0 * lanes) * e->cg + c0 * l->ntaps * lanes;
      long tiles = rg_ceil_div(l->nw, TILE);
      for (long u = rg_max(0, rg_ceil_div(r0 - l->h0, l->hs)), h = l->h0 + u * l->hs; u < l->nh && h < r1; u++, h += l->hs) {
        // Taps above and below the source would add zeros only. Those within are neighbours, as `down` is monotone.
        long t0 = l->tap0, t1 = l->tap0 + l->ntaps, at = l->src0 + u * l->src;
        while (t0 < t1 && (at + e->down[t0] < 0 || at + e->down[t0] >= e->h)) t0++;
        while (t0 < t1 && (at + e->down[t1 - 1] < 0 || at + e->down[t1 - 1] >= e->h)) t1--;
        const float *from = src + c0 * plane + l->base + u * l->row, *weights = w + (t0 - l->tap0) * lanes;
        for (long i = 0; i < tiles; i++) {
          long v = l->nw * i / tiles, p = l->nw * (i + 1) / tiles - v, step_out = l->ws * lanes;
          float *o = out + ((h - r0) * e->ow + l->w0 + v * l->ws) * lanes;
          RG_NAME(tiles)[p][nv - 1](from + v, plane, nc, e->off + t0, t1 - t0, weights, (l->ntaps - (t1 - t0)) * lanes,
                                    c0 ? o : e->init + unit * LANES, c0 ? step_out : 0, o, step_out, e->relu && c0 + nc == e->cg);
        }
      }
    }
  }
}

// unit computes one band of rows of one set of channel blocks of one group of one image.
static void RG_NAME(unit)(void *ctx, long i) {
  const engine *e = ctx;
  long band = i % e->bands, set = i / e->bands % e->sets, ng = i / (e->bands * e->sets), g = ng % e->g;
  long r0 = e->oh * band / e->bands, r1 = e->oh * (band + 1) / e->bands, pixels = e->oh * e->ow;
  const float *src = e->src + ng * e->cg * e->h * e->w;
  long plane = e->h * e->w;
  if (!e->direct) {
    plane = e->hp * e->parts * e->wq;
    float *copy = rg_scratch(5, (size_t)(e->cg * plane) * sizeof(float));
    long lo = r0 * e->num / e->den, hi = rg_min(e->hp, (r1 - 1) * e->num / e->den + e->reach);
    for (long c = 0; c < e->cg; c++)
      RG_NAME(pad_plane)(copy + c * plane, src + c * e->h * e->w, e->h, e->w, e->top, e->left, lo, hi, e->hop, e->phases, e->parts, e->wq, 0);
    src = copy;
  }
  long step = rg_max(1, BAND_PIXELS / e->ow);
  float *out = rg_scratch(7, (size_t)(step * e->ow * LANES) * sizeof(float));
  for (long b = e->blocks * set / e->sets; b < e->blocks * (set + 1) / e->sets; b++) {
    float *dst = e->dst + (ng * e->og + b * LANES) * pixels;
    long lanes = RG_NAME(width)(e, b), used = rg_min(lanes, e->og - b * LANES);
    for (long r = r0; r < r1; r += step) {
      long n = rg_min(step, r1 - r);
      RG_NAME(rows)(e, src, plane, g * e->blocks + b, r, r + n, out);
      RG_NAME(transpose)(dst + r * e->ow, pixels, out, lanes, n * e->ow, used);
    }
  }
}

static void RG_NAME(engine_run)(engine *e) {
  e->blocks = rg_ceil_div(e->og, LANES);
  long packed = e->g * e->blocks * LANES * e->cg * e->taps;
  e->pack = rg_scratch(4, (size_t)(packed + e->g * e->blocks * LANES) * sizeof(float));
  e->init = e->pack + packed;
  rg_parallel(e->g * e->blocks, RG_NAME(pack), e);
  e->sets = e->n * e->g < MIN_UNITS ? e->blocks : 1;
  e->bands = rg_min(e->oh, rg_ceil_div(MIN_UNITS, e->n * e->g * e->sets));
  rg_parallel(e->n * e->g * e->sets * e->bands, RG_NAME(unit), e);
}
#undef TILE
#undef LANES
#undef TBLOCK
#endif
