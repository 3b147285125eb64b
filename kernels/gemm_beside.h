// The microkernel of fp32 products that does other work beside its tiles (gemm_beside.c): it packs the strip that moves next, adds up what
// it packs, and turns the tile before into C.
#pragma once
#include "gemm_split.h"

enum {
  STEPS = 20,         // of a tile's end: four look for infinities, sixteen write two rows each
  PAIRS = 16,         // steps that pack 32 k of a strip, two units each,
  PAIRS_PER_TILE = 6, // at most so many in the time of a tile: one after each group of four products
};

typedef struct beside beside;
struct beside {
  // The strip that moves next: each step packs two of its units. A unit is a vector and the one 16 of k further on.
  const float *src;
  long step, second, far, block; // elements from one step, one unit, the other vector, 32 of k to the next
  uint16_t *dst;
  long dst_step, dst_second;
  int pairs;       // steps in 32 k of the tile that is being made
  int adds;        // the strip's columns are added up too: those of a step's first unit, and of its second
  __m512 sums[2];
  // The tile before.
  float *tile;
  long i0, j0; // where it lies in the product
  int left;    // steps
  void (*end)(const beside *b, long row); // writes two rows of it
  const rg_gemm *g;                       // the product whose bits tile has; C's and its own end
  rg_gemm_end rows;
};

AMX_INLINE void pack_unit(beside *s, const float *p, uint16_t *d, int second) {
  __m512i out[33];
  __m512 x = _mm512_loadu_ps(p), y = _mm512_loadu_ps(p + s->far);
  split_pair(x, y, out);
  for (int part = 0; part < 3; part++) _mm512_store_si512(d + part * 2 * TILE, out[16 * part]);
  if (s->adds) s->sums[second] = _mm512_add_ps(s->sums[second], _mm512_add_ps(x, y));
}
AMX_INLINE void pack_step(beside *s, const float *src, uint16_t *dst, int i) {
  pack_unit(s, src + i * s->step, dst + i * s->dst_step, 0);
  pack_unit(s, src + i * s->step + s->second, dst + i * s->dst_step + s->dst_second, 1);
}

// pack_strip packs a strip that no tile has packed, in the same order: sums must come out the same.
AMX static void pack_strip(beside *s, long kc) {
  for (int i0 = 0; i0 < PAIRS; i0 += PAIRS_PER_TILE)
    for (long b = 0; b < kc / KBLOCK; b++)
      for (int i = i0; i < rg_min(PAIRS, i0 + PAIRS_PER_TILE); i++) pack_step(s, s->src + b * s->block, s->dst + b * 6 * TILE, i);
}

// The larger of top and the magnitudes in a quarter of a tile, as bits: those of infinities and NaN lie above all others.
AMX_INLINE __m512i largest(__m512i top, const float *t) {
  const __m512i magnitude = _mm512_set1_epi32(0x7fffffff);
#pragma GCC unroll 16
  for (int i = 0; i < 16; i++)
    top = _mm512_max_epu32(top, _mm512_and_si512(_mm512_castps_si512(_mm512_load_ps(t + 16 * i)), magnitude));
  return top;
}
AMX_INLINE int infinite(__m512i top) { return _mm512_cmpge_epu32_mask(top, _mm512_set1_epi32(0x7f800000)) != 0; }

// end_step does step `step` of the tile before.
AMX_INLINE void end_step(const beside *s, int step, __m512i *top) {
  if (step < 4) {
    *top = largest(*top, s->tile + step * 8 * STRIP);
    return;
  }
  if (step == 4 && infinite(*top)) rg_gemm_plain(s->g, s->i0, STRIP, s->j0, STRIP, s->tile, STRIP);
  s->end(s, (step - 4) * 2);
}

// multiply makes a tile of kc of k; *s is done beside it.
AMX static void multiply(long kc, const uint16_t *a, const uint16_t *b, float *c, beside *s) {
  enum { P1 = 0, P2 = 2 * TILE, P3 = 4 * TILE };
  const float *src = s->src;
  uint16_t *dst = s->dst;
  const int pairs = s->pairs, left = s->left;
  int step = STEPS - left;
  __m512i top = _mm512_setzero_si512();
#define BESIDE(i)                                                                                                      \
  {                                                                                                                    \
    if (i < pairs) pack_step(s, src, dst, i);                                                                          \
    if (step < STEPS) end_step(s, step++, &top);                                                                       \
  }
  load_sums(c, 0);
  for (; kc > 0; kc -= KBLOCK, a += 6 * TILE, b += 6 * TILE, src += s->block, dst += 6 * TILE) { // as micro_split
    LOAD_A(a + P3), LOAD_B(b + P1), MULTIPLY();
    BESIDE(0)
    LOAD_A(a + P2), MULTIPLY();
    BESIDE(1)
    LOAD_B(b + P2), MULTIPLY();
    BESIDE(2)
    LOAD_A(a + P1), MULTIPLY();
    BESIDE(3)
    LOAD_B(b + P3), MULTIPLY();
    BESIDE(4)
    LOAD_B(b + P1), MULTIPLY();
    BESIDE(5)
  }
#undef BESIDE
  store_sums(c);
}

// last is the end of a tile that no other one follows.
AMX static void last(const beside *s) {
  __m512i top = _mm512_setzero_si512();
  for (int step = STEPS - s->left; step < STEPS; step++) end_step(s, step, &top);
}

static void end_rows(const beside *s, long row) { s->rows(s->g, s->tile + row * STRIP, STRIP, s->i0 + row, 2, s->j0, STRIP); }

// end_turned writes a tile of Cᵀ, a quarter at every fourth call; where C holds a sum already it is added to.
AMX static void end_turned(const beside *s, long row) {
  if (row % 8 != 6) return;
  long i = row / 16 * 16, j = row % 16 / 8 * 16;
  float *c = (float *)s->g->c + (s->j0 + j) * s->g->ldc + s->i0 + i;
  __m512i v[16];
#pragma GCC unroll 16
  for (int e = 0; e < 16; e++) v[e] = _mm512_load_si512(s->tile + (i + e) * STRIP + j);
  transpose16(v);
#pragma GCC unroll 16
  for (int e = 0; e < 16; e++) {
    __m512 x = _mm512_castsi512_ps(v[e]);
    if (s->g->residual) x = _mm512_add_ps(x, _mm512_loadu_ps(c + e * s->g->ldc));
    _mm512_storeu_ps(c + e * s->g->ldc, x);
  }
}
