//go:build cgo

#ifndef RG_BODY
#include "widen.h"

typedef struct {
  const void *from;
  void *to;
  long n;
} convert;

enum { CHUNK = 1 << 15 }; // elements per unit of work

#define RG_SELF "widen.c"
#include "rg_multi.h"

const float *rg_in(int slot, const void *p, long n, int bf16) {
  if (!bf16 || !p) return p;
  convert c = {p, rg_scratch(slot, (size_t)n * sizeof(float)), n};
  rg_parallel(rg_ceil_div(n, CHUNK), RG_DISPATCH(widen_unit), &c);
  return c.to;
}

float *rg_out(int slot, void *p, long n, int bf16) { return bf16 ? rg_scratch(slot, (size_t)n * sizeof(float)) : p; }

void rg_done(void *p, const float *y, long n, int bf16) {
  if (!bf16) return;
  convert c = {y, p, n};
  rg_parallel(rg_ceil_div(n, CHUNK), RG_DISPATCH(narrow_unit), &c);
}
#else
#include "bf16.h"

static void RG_NAME(widen_unit)(void *ctx, long unit) {
  const convert *c = ctx;
  long at = unit * CHUNK;
  RG_NAME(widen)((const uint16_t *)c->from + at, (float *)c->to + at, rg_min(CHUNK, c->n - at));
}

static void RG_NAME(narrow_unit)(void *ctx, long unit) {
  const convert *c = ctx;
  long at = unit * CHUNK;
  RG_NAME(narrow)((const float *)c->from + at, (uint16_t *)c->to + at, rg_min(CHUNK, c->n - at));
}
#endif
