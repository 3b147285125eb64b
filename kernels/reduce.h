// Reductions of f32, argmax and top-k.
#pragma once
#include "rg.h"

enum { RG_R_SUM, RG_R_MAX, RG_R_MIN };

// y = scale · fold of x over n and tail: x is (outer, n, inner, tail), y is (outer, inner). scale is 1 for max and min.
typedef struct {
  int op;
  const float *x;
  float *y;
  long outer, n, inner, tail;
  float scale;
} rg_reduction;
void rg_reduce_run(const rg_reduction *a);
void rg_reduce(int op, const float *x, float *y, long outer, long n, long inner, long tail, float scale);
// Per row of n ≥ 1 elements, the index of the largest: the first of equals, or the last.
void rg_argmax(const float *x, int64_t *y, long rows, long n, int last);
// Per row, the k best in order and their indices.
void rg_topk(const float *x, float *v, int64_t *idx, long rows, long n, long k, int smallest);
