// Entry points of pool.c.
#pragma once
#include "rg.h"

// One pooling over planes (n·c) of h×w pixels, giving oh×ow. pt, pl, pb, pr are padding at top, left, bottom, right.
typedef struct {
  long planes, h, w, oh, ow, kh, kw, sh, sw, dh, dw, pt, pl, pb, pr;
  int count_pad;
  int bf16; // element type of every tensor but idx: bf16 instead of f32
} rg_pool_shape;

void rg_maxpool(const rg_pool_shape *s, const void *x, void *y, int32_t *idx);
void rg_maxpool_grad(const rg_pool_shape *s, const void *dy, const int32_t *idx, void *dx);
void rg_avgpool(const rg_pool_shape *s, const void *x, void *y);
void rg_avgpool_grad(const rg_pool_shape *s, const void *dy, void *dx);
