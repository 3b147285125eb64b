//go:build cgo

// Depthwise convolution: every group has one input channel c and o/g output channels of its own.
//
//	y[n,o,p]  = act(bias[o] + Σ_t x[n, c(o), pos(p) + off(t)]·w[o,t])
//	dx[n,c,q] = Σ_{o of c} Σ_t dy[n, o, (q − t)/stride]·w[o,t]     where that is whole
//	dw[o,t]   = Σ_{n,p} dy[n,o,p]·x[n, c(o), pos(p) + off(t)]
//
// There is no sum over channels to share loads in, so vectors run over neighbouring pixels of a padded copy of one plane.
// Pixels of dx are taken by their remainders modulo the stride, each of which sees its own taps.
#ifndef RG_BODY
#include <string.h>
#include "conv.h"

typedef struct {
  const rg_conv_shape *s;
  const float *a, *b, *bias; // source planes; weights, or dy for dw
  float *out;
  long m, taps;                       // output channels per input channel; taps of the kernel
  long top, left, hp, pitch, phases;  // the padded plane, see pad.h
} dwise;

enum { GROUP = 8 }; // taps of dw summed together: independent chains of additions, within 16 registers

#define RG_SELF "conv_depthwise.c"
#include "rg_multi.h"

static dwise forward_plane(const rg_conv_shape *s) {
  dwise p = {.s = s, .m = s->o / s->g, .taps = s->kh * s->kw, .top = s->pt, .left = s->pl, .phases = s->sw};
  p.hp = (s->oh - 1) * s->sh + (s->kh - 1) * s->dh + 1;
  p.pitch = rg_ceil_div(s->ow, 16) * 16 + (s->kw - 1) * s->dw / s->sw; // whole vectors, whatever their width
  return p;
}

void rg_depthwise(const rg_conv_shape *s, const float *x, const float *w, const float *bias, float *y) {
  dwise p = forward_plane(s);
  p.a = x, p.b = w, p.bias = bias, p.out = y;
  rg_parallel(s->n * s->c, RG_DISPATCH(dwise_y), &p);
}

void rg_depthwise_dw(const rg_conv_shape *s, const float *x, const float *dy, float *dw) {
  dwise p = forward_plane(s);
  p.a = x, p.b = dy, p.out = dw;
  rg_parallel(s->c, RG_DISPATCH(dwise_dw), &p);
}

void rg_depthwise_dx(const rg_conv_shape *s, const float *dy, const float *w, float *dx) {
  dwise p = {.s = s, .a = dy, .b = w, .out = dx, .m = s->o / s->g, .taps = s->kh * s->kw, .phases = 1};
  p.top = rg_max(0, rg_ceil_div((s->kh - 1) * s->dh - s->pt + s->sh, s->sh) - 1);
  p.left = rg_max(0, rg_ceil_div((s->kw - 1) * s->dw - s->pl + s->sw, s->sw) - 1);
  p.hp = p.top + (s->h - 1 + s->pt) / s->sh + 1;
  p.pitch = p.left + (s->w - 1 + s->pl) / s->sw + 1 + 16;
  rg_parallel(s->n * s->c, RG_DISPATCH(dwise_dx), &p);
}
#else
#include "rg_vec.h"

#include "pad.h"

static const float *RG_NAME(dwise_pad)(const dwise *p, const float *src, long h, long w) {
  float *plane = rg_scratch(5, (size_t)(p->hp * p->phases * p->pitch) * sizeof(float));
  RG_NAME(pad_plane)(plane, src, h, w, p->top, p->left, 0, p->hp, 1, p->phases, p->phases, p->pitch, 0);
  return plane;
}

// dwise_taps returns, per tap, its distance from a window's start.
static const long *RG_NAME(dwise_taps)(const dwise *p) {
  const rg_conv_shape *s = p->s;
  long *off = rg_scratch(6, (size_t)p->taps * sizeof(long));
  for (long t = 0; t < p->taps; t++) {
    long col = t % s->kw * s->dw;
    off[t] = (t / s->kw * s->dh * s->sw + col % s->sw) * p->pitch + col / s->sw;
  }
  return off;
}

static void RG_NAME(dwise_y)(void *ctx, long unit) {
  const dwise *p = ctx;
  const rg_conv_shape *s = p->s;
  long n = unit / s->c, c = unit % s->c, row = p->phases * p->pitch;
  const float *x = RG_NAME(dwise_pad)(p, p->a + unit * s->h * s->w, s->h, s->w);
  const long *off = RG_NAME(dwise_taps)(p);
  for (long o = c * p->m; o < (c + 1) * p->m; o++) {
    const float *w = p->b + o * p->taps;
    float *y = p->out + (n * s->o + o) * s->oh * s->ow;
    for (long i = 0; i < s->oh; i++, y += s->ow)
      for (long j = 0; j < s->ow; j += RG_WIDTH) {
        vf sum = v_set(p->bias ? p->bias[o] : 0);
        for (long t = 0; t < p->taps; t++) sum += v_loadu(x + i * s->sh * row + off[t] + j) * w[t];
        if (s->relu) sum = (vf)((vi)sum & ~(sum < 0)); // NaN stays NaN
        v_store(y + j, sum, s->ow - j);
      }
  }
}

// dwise_dx takes the m output channels of one input channel in turn, adding to dx.
static void RG_NAME(dwise_dx)(void *ctx, long unit) {
  const dwise *p = ctx;
  const rg_conv_shape *s = p->s;
  long n = unit / s->c, c = unit % s->c;
  float *dx = p->out + unit * s->h * s->w;
  for (long o = c * p->m; o < (c + 1) * p->m; o++) {
    const float *dy = RG_NAME(dwise_pad)(p, p->a + (n * s->o + o) * s->oh * s->ow, s->oh, s->ow);
    const float *w = p->b + o * p->taps;
    for (long h = 0; h < s->h; h++)
      for (long a = 0; a < rg_min(s->sw, s->w); a++) {
        long cols = (s->w - 1 - a) / s->sw + 1; // columns a, a + sw, …
        float *to = dx + h * s->w + a;
        for (long u = 0; u < cols; u += RG_WIDTH) {
          vf sum = {};
          for (long r = 0; r < s->kh; r++) {
            long i = h + s->pt - r * s->dh;
            if (i % s->sh) continue;
            const float *from = dy + (p->top + i / s->sh) * p->pitch + p->left + u;
            for (long q = 0; q < s->kw; q++) {
              long j = a + s->pl - q * s->dw;
              if (s->sw == 1)
                sum += v_loadu(from + j) * w[r * s->kw + q];
              else if (j % s->sw == 0)
                sum += v_loadu(from + j / s->sw) * w[r * s->kw + q];
            }
          }
          long k = rg_min(RG_WIDTH, cols - u);
          if (s->sw == 1)
            v_store(to + u, o > c * p->m ? sum + v_load(to + u, k, 0) : sum, k);
          else
            for (long l = 0; l < k; l++) to[(u + l) * s->sw] = sum[l] + (o > c * p->m ? to[(u + l) * s->sw] : 0);
        }
      }
  }
}

// dw_group adds one plane's products of dy with N shifted copies of x into sums, a vector per tap.
static inline __attribute__((always_inline)) void RG_NAME(dw_group)(const int N, const dwise *p, const float *x, const float *dy, const long *off, vf *sums) {
  const rg_conv_shape *s = p->s;
  vf acc[GROUP];
#pragma GCC unroll 8
  for (int t = 0; t < N; t++) acc[t] = sums[t];
  for (long i = 0; i < s->oh; i++, x += s->sh * p->phases * p->pitch, dy += s->ow)
    for (long j = 0; j < s->ow; j += RG_WIDTH) {
      vf d = v_load(dy + j, s->ow - j, 0);
#pragma GCC unroll 8
      for (int t = 0; t < N; t++) acc[t] += d * v_loadu(x + off[t] + j);
    }
#pragma GCC unroll 8
  for (int t = 0; t < N; t++) sums[t] = acc[t];
}

static void RG_NAME(dwise_dw)(void *ctx, long c) {
  const dwise *p = ctx;
  const rg_conv_shape *s = p->s;
  const long *off = RG_NAME(dwise_taps)(p);
  vf *sums = rg_scratch(7, (size_t)(p->m * p->taps) * sizeof(vf));
  memset(sums, 0, (size_t)(p->m * p->taps) * sizeof(vf));
  for (long n = 0; n < s->n; n++) {
    const float *x = RG_NAME(dwise_pad)(p, p->a + (n * s->c + c) * s->h * s->w, s->h, s->w);
    for (long k = 0; k < p->m; k++) {
      const float *dy = p->b + (n * s->o + c * p->m + k) * s->oh * s->ow;
      vf *sum = sums + k * p->taps;
      long t = 0;
      for (; t + 8 <= p->taps; t += 8) RG_NAME(dw_group)(8, p, x, dy, off + t, sum + t);
      for (; t + 3 <= p->taps; t += 3) RG_NAME(dw_group)(3, p, x, dy, off + t, sum + t);
      for (; t < p->taps; t++) RG_NAME(dw_group)(1, p, x, dy, off + t, sum + t);
    }
  }
  for (long i = 0; i < p->m * p->taps; i++) p->out[c * p->m * p->taps + i] = v_sum(sums[i]);
}
#endif
