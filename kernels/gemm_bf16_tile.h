// The microkernel for bf16 factors, and what it does beside its products: AMX leaves the vector units idle, so that a few of
// their instructions after every four TDPBF16PS cost nothing as long as no branch among them is hard to foresee.
#pragma once
#include "gemm_amx.h"

enum { STRIP = 32, KSTEP = 32, HALF = 16 * 32, BLOCK = 2 * HALF, LINE = 64 }; // HALF: one tile of bf16; BLOCK: 32×32 of them

typedef struct {
  const float *tile; // sums that become rows of C, or NULL
  uint16_t *c;
  long ldc;
  const char *ask;      // rows that are fetched into the second-level cache: A's next strip
  long width, at, next; // bytes of such a row, from its beginning to what is fetched next, and from it to the next row
  long lines;           // so many lines in a step
} beside;

AMX_INLINE void convert(const beside *w, long row, const int rows) { // to nearest even
  const float *t = w->tile + row * STRIP;
  uint16_t *c = w->c + row * w->ldc;
#pragma GCC unroll 8
  for (int r = 0; r < rows; r++, t += STRIP, c += w->ldc)
    _mm512_storeu_si512(c, (__m512i)_mm512_cvtne2ps_pbh(_mm512_load_ps(t + 16), _mm512_load_ps(t)));
}
AMX_INLINE void convert_tile(beside *w) {
  if (w->tile)
    for (long r = 0; r < STRIP; r += 8) convert(w, r, 8);
  w->tile = NULL;
}
AMX_INLINE void ask(beside *w) {
  for (long n = w->lines; n > 0; n--) {
    _mm_prefetch(w->ask + w->at, _MM_HINT_T1);
    int end = (w->at += LINE) >= w->width;
    w->ask += end ? w->next : 0, w->at = end ? 0 : w->at;
  }
}

// products is one step; the tiles of the next are loaded as soon as their registers are free.
#define PRODUCTS()                                                                                                     \
  a.upper += a.step, a.lower += a.step, b += BLOCK;                                                                    \
  DOT(0, 4, 6), DOT(1, 4, 7);                                                                                          \
  LOAD(4, a.upper, a.ld), DOT(2, 5, 6);                                                                                \
  LOAD_ONCE(6, b, LINE), DOT(3, 5, 7);                                                                                 \
  LOAD(5, a.lower, a.ld), LOAD_ONCE(7, b + HALF, LINE)

AMX_INLINE void multiply_with(long steps, strip a, const uint16_t *b, float *c, int acc, beside *w, const int rows) {
  load_sums(c, acc);
  LOAD(4, a.upper, a.ld), LOAD_ONCE(6, b, LINE);
  LOAD(5, a.lower, a.ld), LOAD_ONCE(7, b + HALF, LINE);
  steps--;
  if (rows) {
    for (long r = 0; r + rows <= STRIP; r += rows, steps--) {
      PRODUCTS();
      convert(w, r, rows), ask(w);
    }
    if (STRIP % rows) convert(w, STRIP / rows * rows, STRIP % rows);
    w->tile = NULL;
  }
  for (; steps > 0; steps--) {
    PRODUCTS();
    ask(w);
  }
  DOT(0, 4, 6), DOT(1, 4, 7), DOT(2, 5, 6), DOT(3, 5, 7);
  if (!rows) convert_tile(w);
  store_sums(c);
}

// multiply sets or adds (acc) c (32,32) = A·B over `steps` steps of 32 k. b: packed blocks, read once.
AMX static void multiply(long steps, strip a, const uint16_t *b, float *c, int acc, beside *w) {
  if (!w->tile || steps <= 2) multiply_with(steps, a, b, c, acc, w, 0);
  else if (steps <= 4) multiply_with(steps, a, b, c, acc, w, 16);
  else if (steps <= 8) multiply_with(steps, a, b, c, acc, w, 8);
  else if (steps <= 10) multiply_with(steps, a, b, c, acc, w, 4);
  else if (steps <= 16) multiply_with(steps, a, b, c, acc, w, 3);
  else multiply_with(steps, a, b, c, acc, w, 2);
}
