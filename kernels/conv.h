// What the convolution kernels share: the description that Go passes, and the entry points.
#pragma once
#include "rg.h"

// One convolution, all sizes in elements: x (n,c,h,w), w (o,c/g,kh,kw), y (n,o,oh,ow). pt and pl are the rows and
// columns of zeros above and left of x; those below and right follow from oh and ow.
typedef struct {
  long n, c, h, w, o, kh, kw, oh, ow, sh, sw, dh, dw, pt, pl, g;
  int relu;
  int bf16; // element type of every tensor: bf16 instead of f32
} rg_conv_shape;

void rg_conv2d(const rg_conv_shape *s, const void *x, const void *w, const void *bias, void *y);
void rg_conv2d_dx(const rg_conv_shape *s, const void *dy, const void *w, void *dx);
void rg_conv2d_dw(const rg_conv_shape *s, const void *x, const void *dy, void *dw);
void rg_conv2d_db(const rg_conv_shape *s, const void *dy, void *db); // uses n, o, oh, ow

static inline long rg_conv_x(const rg_conv_shape *s) { return s->n * s->c * s->h * s->w; }
static inline long rg_conv_w(const rg_conv_shape *s) { return s->o * (s->c / s->g) * s->kh * s->kw; }
static inline long rg_conv_y(const rg_conv_shape *s) { return s->n * s->o * s->oh * s->ow; }

// One input channel per group, and more than one group: conv_depthwise.c.
static inline int rg_depthwise_fits(const rg_conv_shape *s) { return s->g > 1 && s->c == s->g; }
void rg_depthwise(const rg_conv_shape *s, const float *x, const float *w, const float *bias, float *y);
void rg_depthwise_dx(const rg_conv_shape *s, const float *dy, const float *w, float *dx);
void rg_depthwise_dw(const rg_conv_shape *s, const float *x, const float *dy, float *dw);
