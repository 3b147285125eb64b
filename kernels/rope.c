//go:build cgo

// (u, v) → (u·cos θ − v·sin θ, u·sin θ + v·cos θ) for each pair of each head (RoFormer, eq. 34).
#ifndef RG_BODY
#define _GNU_SOURCE
#include <math.h>
#include <string.h>

#include "rg_math.h"
#include "rope.h"

typedef struct {
  float *y;
  const float *x;
  const rg_rope_args *a;
  const float *table;
  const double *freq;
  long rows; // per task
} job;

// angles returns cos and sin of row i: from the table, or computed in double precision into scratch.
static const float *angles(const job *j, long i) {
  const rg_rope_args *a = j->a;
  const long half = a->D / 2;
  if (j->table) return j->table + i % a->T * a->D;
  float *cs = rg_scratch(4, (size_t)a->D * 4);
  double p = a->sign * (a->pos_step ? a->pos[i] : a->pos[0] + i % a->T);
  for (long f = 0; f < half; f++) {
    double s, c;
    sincos(p * j->freq[f], &s, &c);
    cs[f] = (float)c, cs[half + f] = (float)s;
  }
  return cs;
}

#define RG_SELF "rope.c"
#include "rg_multi.h"

void rg_rope(float *y, const float *x, const rg_rope_args *a, const float *table, const double *freq) {
  // About 16K elements per task: enough to outweigh handing it out.
  job j = {y, x, a, table, freq, rg_ceil_div(1 << 14, a->heads * a->D)};
  rg_parallel(rg_ceil_div(a->rows, j.rows), RG_DISPATCH(rope_rows), &j);
}
#else
#define VF RG_NAME(rope_vf)
typedef float VF __attribute__((vector_size(4 * RG_WIDTH), aligned(4), may_alias));

// The even or odd elements of two neighbouring vectors, and back.
#if RG_WIDTH == 16
#define EVEN(a, b) __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30)
#define ODD(a, b) __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31)
#define LO(a, b) __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23)
#define HI(a, b) __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31)
#elif RG_WIDTH == 8
#define EVEN(a, b) __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14)
#define ODD(a, b) __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15)
#define LO(a, b) __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11)
#define HI(a, b) __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15)
#else
#define EVEN(a, b) __builtin_shufflevector(a, b, 0, 2, 4, 6)
#define ODD(a, b) __builtin_shufflevector(a, b, 1, 3, 5, 7)
#define LO(a, b) __builtin_shufflevector(a, b, 0, 4, 1, 5)
#define HI(a, b) __builtin_shufflevector(a, b, 2, 6, 3, 7)
#endif

static void RG_NAME(rope_head)(float *y, const float *x, const float *cos, const float *sin, long half, long interleaved) {
  const long near = interleaved ? 2 : 1, far = interleaved ? 1 : half; // u_i = x[near·i], v_i = x[near·i + far]
  long i = 0;
  for (; i + RG_WIDTH <= half; i += RG_WIDTH) {
    VF c = *(const VF *)(cos + i), s = *(const VF *)(sin + i);
    if (interleaved) {
      VF a = *(const VF *)(x + 2 * i), b = *(const VF *)(x + 2 * i + RG_WIDTH), u = EVEN(a, b), v = ODD(a, b);
      VF p = u * c - v * s, q = u * s + v * c;
      *(VF *)(y + 2 * i) = LO(p, q);
      *(VF *)(y + 2 * i + RG_WIDTH) = HI(p, q);
    } else {
      VF u = *(const VF *)(x + i), v = *(const VF *)(x + half + i);
      *(VF *)(y + i) = u * c - v * s;
      *(VF *)(y + half + i) = u * s + v * c;
    }
  }
  for (; i < half; i++) {
    float u = x[near * i], v = x[near * i + far];
    y[near * i] = u * cos[i] - v * sin[i];
    y[near * i + far] = u * sin[i] + v * cos[i];
  }
}

static void RG_NAME(rope_rows)(void *ctx, long task) {
  const job *j = ctx;
  const rg_rope_args *a = j->a;
  const long half = a->D / 2, row = a->heads * a->D;
  for (long i = task * j->rows; i < rg_min(a->rows, (task + 1) * j->rows); i++) {
    const float *cs = angles(j, i), *x = j->x + i * row;
    float *y = j->y + i * row;
    for (long h = 0; h < a->turn; h++) RG_NAME(rope_head)(y + h * a->D, x + h * a->D, cs, cs + half, half, a->interleaved);
    if (y != x && a->turn < a->heads) memcpy(y + a->turn * a->D, x + a->turn * a->D, (size_t)(a->heads - a->turn) * a->D * 4);
  }
}
#undef VF
#undef EVEN
#undef ODD
#undef LO
#undef HI
#endif
