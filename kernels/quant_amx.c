//go:build cgo

// Integer products on AMX tiles (Intel SDM vol. 1 ch. 18; TDPBSSD, TDPBUSD): two tiles of pixels by two panels of columns
// in four tile registers of int32. A tile of x is loaded from where it lies: its rows are pixels, pix_step bytes apart.
#include "quant_tile.h"

#ifndef __x86_64__
int rg_q8_amx_usable(void) { return 0; }
void rg_q8_amx(const rg_q8 *g, long t0, long t1, long p0, long p1) { (void)g, (void)t0, (void)t1, (void)p0, (void)p1; }
#else
#include <cpuid.h>
#include <immintrin.h>
#define AMX __attribute__((target("amx-tile,amx-int8,avx2,fma,avx512f,avx512bw,avx512vl,avx512dq")))
#define AMX_INLINE static inline __attribute__((always_inline)) AMX

// CPUID leaf 7, EDX bit 25; rg_isa says that tiles may be used.
int rg_q8_amx_usable(void) {
  unsigned a, b, c, d;
  return rg_isa >= RG_AMX && __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d >> 25 & 1);
}

// Sums (0…3) and tiles of x (4, 5) have one row per pixel; tiles of weights (6, 7) 16 rows of 4 bytes of k by 16 columns.
AMX static void enter(long rows) {
  struct __attribute__((packed)) {
    uint8_t palette, start_row, reserved[14];
    uint16_t colsb[16];
    uint8_t rows[16];
  } config = {.palette = 1};
  for (int i = 0; i < 8; i++) config.colsb[i] = 64, config.rows[i] = i < 6 ? (uint8_t)rows : 16;
  __asm__ volatile("ldtilecfg %0" : : "m"(config));
}

#define DOT(c, a, b) ({ if (U8) _tile_dpbusd(c, a, b); else _tile_dpbssd(c, a, b); })
enum { LD = 32 }; // columns of the sums' buffer

AMX_INLINE void micro(const rg_q8 *g, const uint8_t *a0, const uint8_t *a1, const int8_t *w, const int U8, const int T, const int P,
                      int32_t *sums, int32_t *sums1) {
  const long dwords = rg_q8_dwords(g), panel = rg_q8_panel_bytes(g), step = g->pix_step;
  _tile_zero(0);
  if (P > 1) _tile_zero(1);
  if (T > 1) _tile_zero(2);
  if (T > 1 && P > 1) _tile_zero(3);
  for (int part = 0; part < g->parts; part++)
    for (long s = 0; s < g->segs; s++)
      for (long d = 0, off = g->seg_off[s]; d < dwords; d += 16, off += 64, w += 1024) {
        _tile_loadd(6, w, 64);
        _tile_loadd(4, a0 + off, step);
        DOT(0, 4, 6);
        if (P > 1) {
          _tile_loadd(7, w + panel, 64);
          DOT(1, 4, 7);
        }
        if (T > 1) {
          _tile_loadd(5, a1 + off, step);
          DOT(2, 5, 6);
          if (P > 1) DOT(3, 5, 7);
        }
      }
  _tile_stored(0, sums, 4 * LD);
  if (P > 1) _tile_stored(1, sums + 16, 4 * LD);
  if (T > 1) _tile_stored(2, sums1, 4 * LD);
  if (T > 1 && P > 1) _tile_stored(3, sums1 + 16, 4 * LD);
}

typedef void (*micro_fn)(const rg_q8 *, const uint8_t *, const uint8_t *, const int8_t *, int32_t *, int32_t *);
#define MICRO(u, t, p)                                                                                                 \
  AMX static void micro_##u##t##p(const rg_q8 *g, const uint8_t *a, const uint8_t *b, const int8_t *w, int32_t *s, int32_t *s1) { \
    micro(g, a, b, w, u, t, p, s, s1);                                                                                 \
  }
MICRO(0, 1, 1)
MICRO(0, 1, 2)
MICRO(0, 2, 1)
MICRO(0, 2, 2)
MICRO(1, 1, 1)
MICRO(1, 1, 2)
MICRO(1, 2, 1)
MICRO(1, 2, 2)

AMX void rg_q8_amx(const rg_q8 *g, long t0, long t1, long p0, long p1) {
  static const micro_fn micros[2][2][2] = {{{micro_011, micro_012}, {micro_021, micro_022}}, {{micro_111, micro_112}, {micro_121, micro_122}}};
  _Alignas(64) int32_t sums[2 * 16 * LD];
  long rows = rg_q8_tile(g);
  enter(rows);
  for (long p = p0; p < p1; p += 2) {
    long two = rg_min(2, p1 - p), col = p * RG_Q8_PANEL, cols = rg_min(two * RG_Q8_PANEL, g->n - col);
    for (long t = t0; t < t1; t += 2) {
      long pixel[2], count[2], pair = rg_min(2, t1 - t);
      const uint8_t *a[2] = {0};
      for (long i = 0; i < pair; i++) a[i] = rg_q8_at(g, t + i, rows, &pixel[i], &count[i], 1);
      micros[g->x_u8][pair - 1][two - 1](g, a[0], a[1], g->packed + p * rg_q8_panel_bytes(g), sums, sums + 16 * LD);
      for (long i = 0; i < pair; i++) { // of a tile that begins earlier, the first pixels are written already
        long skip = rows - count[i];
        rg_q8_end(g, sums + (16 * i + skip) * LD, LD, pixel[i] + skip, count[i], col, cols);
      }
    }
  }
  _tile_release();
}
#endif
