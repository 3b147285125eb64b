// What products of 32×32 tiles share: the names of the tiles, and the three parts of an f32 number.
#pragma once
#include "gemm_amx.h"

enum {
  STRIP = 32,
  KBLOCK = 32,
  TILE = 16 * 32, // 16 rows of 32 bf16
};

// Operand tiles: 4, 5 rows 0–15 and 16–31 of A; 6, 7 columns 0–15 and 16–31 of B.
#define LOAD_A(p) LOAD(4, (p), 64), LOAD(5, (p) + TILE, 64)
#define LOAD_B(p) LOAD(6, (p), 64), LOAD(7, (p) + TILE, 64)
#define MULTIPLY() DOT(0, 4, 6), DOT(1, 4, 7), DOT(2, 5, 6), DOT(3, 5, 7)

// split_pair writes the three parts of lo (lower halves) and hi (upper halves) to out[0], out[16], out[32].
AMX_INLINE void split_pair(__m512 lo, __m512 hi, __m512i *out) {
  const __m512i half = _mm512_set1_epi32(0x8000), top = _mm512_set1_epi32((int)0xffff0000);
  for (int p = 0; p < 3; p++) {
    __m512i l = _mm512_castps_si512(lo), h = _mm512_castps_si512(hi);
    if (p < 2) { // the third part has 8 significant bits: nothing to round
      l = _mm512_and_si512(_mm512_add_epi32(l, half), top);
      h = _mm512_and_si512(_mm512_add_epi32(h, half), top);
      lo = _mm512_sub_ps(lo, _mm512_castsi512_ps(l));
      hi = _mm512_sub_ps(hi, _mm512_castsi512_ps(h));
    } else {
      h = _mm512_and_si512(h, top); // unless it is subnormal, when its bits lie low: they must not fall into l's half
    }
    out[16 * p] = _mm512_or_si512(_mm512_srli_epi32(l, 16), h);
  }
}
