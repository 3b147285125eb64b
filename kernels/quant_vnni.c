//go:build cgo

// Integer products with AVX-512 VNNI (VPDPBUSD: four u8×s8 products added to an int32, exact). Signed x is taken as
// x + 128 by flipping its highest bit, which rg_q8_prepare has put into the bias.
#include "quant_tile.h"

#ifndef __x86_64__
int rg_q8_vnni_usable(void) { return 0; }
void rg_q8_vnni(const rg_q8 *g, long t0, long t1, long p0, long p1) { (void)g, (void)t0, (void)t1, (void)p0, (void)p1; }
#else
#include <immintrin.h>
#define VNNI __attribute__((target("avx2,fma,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")))
#define VNNI_INLINE static inline __attribute__((always_inline)) VNNI
enum { ROWS = 6, GROUP = 4 }; // 6 pixels × 4 panels: 24 accumulators of the 32 registers

int rg_q8_vnni_usable(void) { return rg_isa >= RG_AVX512 && __builtin_cpu_supports("avx512vnni"); }

VNNI_INLINE void micro(const rg_q8 *g, const uint8_t *a, const int8_t *w, const int R, const int P, int32_t *sums) {
  __m512i acc[ROWS][GROUP];
  const __m512i flip = _mm512_set1_epi32(g->x_u8 ? 0 : (int)0x80808080);
  const long dwords = rg_q8_dwords(g), panel = rg_q8_panel_bytes(g), step = g->pix_step;
#pragma GCC unroll 6
  for (int r = 0; r < R; r++)
#pragma GCC unroll 4
    for (int p = 0; p < P; p++) acc[r][p] = _mm512_setzero_si512();
  for (int part = 0; part < g->parts; part++)
    for (long s = 0; s < g->segs; s++) {
      const uint8_t *x = a + g->seg_off[s];
      for (long d = 0; d < dwords; d++, w += 64, x += 4) {
        __m512i b[GROUP];
#pragma GCC unroll 4
        for (int p = 0; p < P; p++) b[p] = _mm512_load_si512(w + p * panel);
#pragma GCC unroll 6
        for (int r = 0; r < R; r++) {
          __m512i v = _mm512_xor_si512(_mm512_set1_epi32(*(const int32_t __attribute__((may_alias, aligned(1))) *)(x + r * step)), flip);
#pragma GCC unroll 4
          for (int p = 0; p < P; p++) acc[r][p] = _mm512_dpbusd_epi32(acc[r][p], v, b[p]);
        }
      }
    }
#pragma GCC unroll 6
  for (int r = 0; r < R; r++)
#pragma GCC unroll 4
    for (int p = 0; p < P; p++) _mm512_store_si512(sums + (r * GROUP + p) * 16, acc[r][p]);
}

#define SIZES(P)                                                                                                       \
  VNNI static void micro_##P(const rg_q8 *g, const uint8_t *a, const int8_t *w, long rows, int32_t *sums) {            \
    switch (rows) {                                                                                                    \
    case 1: micro(g, a, w, 1, P, sums); break;                                                                         \
    case 2: micro(g, a, w, 2, P, sums); break;                                                                         \
    case 3: micro(g, a, w, 3, P, sums); break;                                                                         \
    case 4: micro(g, a, w, 4, P, sums); break;                                                                         \
    case 5: micro(g, a, w, 5, P, sums); break;                                                                         \
    default: micro(g, a, w, 6, P, sums);                                                                               \
    }                                                                                                                  \
  }
SIZES(1)
SIZES(2)
SIZES(3)
SIZES(4)

VNNI void rg_q8_vnni(const rg_q8 *g, long t0, long t1, long p0, long p1) {
  static void (*const micros[])(const rg_q8 *, const uint8_t *, const int8_t *, long, int32_t *) = {0, micro_1, micro_2, micro_3, micro_4};
  _Alignas(64) int32_t sums[ROWS * GROUP * 16];
  long rows = rg_q8_tile(g);
  for (long p = p0; p < p1; p += GROUP) {
    long some = rg_min(GROUP, p1 - p), col = p * RG_Q8_PANEL;
    for (long t = t0; t < t1; t++) {
      long pixel, count;
      const uint8_t *a = rg_q8_at(g, t, rows, &pixel, &count, 0);
      micros[some](g, a, g->packed + p * rg_q8_panel_bytes(g), count, sums);
      rg_q8_end(g, sums, GROUP * 16, pixel, count, col, rg_min(some * RG_Q8_PANEL, g->n - col));
    }
  }
}
#endif
