// What files that write AMX tiles share: vectors of 16 numbers in pairs.
#pragma once
#include "gemm_tile.h"
#include <immintrin.h>

#define AMX __attribute__((target("amx-tile,amx-bf16,avx2,fma,avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")))
#define AMX_INLINE static inline __attribute__((always_inline)) AMX

// tiles_config makes eight tiles of 16 rows of 64 bytes.
AMX_INLINE void tiles_config(void) {
  struct __attribute__((packed)) {
    uint8_t palette, start_row, reserved[14];
    uint16_t colsb[16];
    uint8_t rows[16];
  } config = {.palette = 1};
  for (int i = 0; i < 8; i++) config.colsb[i] = 64, config.rows[i] = 16;
  __asm__ volatile("ldtilecfg %0" : : "m"(config)); // gcc 12's _tile_loadconfig declares only 8 bytes as read
}

// gcc's tile intrinsics are statements of assembly; these are expressions. They do not tell the compiler which memory
// they touch: packers and microkernels meet only through function pointers, which it must assume to touch all.
#define LOAD(t, p, stride) ({ _tile_loadd(t, p, stride); })
#define LOAD_ONCE(t, p, stride) ({ _tile_stream_loadd(t, p, stride); }) // leaves what is in the first-level cache there
#define STORE(t, p, stride) ({ _tile_stored(t, p, stride); })
#define ZERO(t) ({ _tile_zero(t); })
#define DOT(c, a, b) ({ _tile_dpbf16ps(c, a, b); })

// add_block adds 32×32×32 to the sums in tiles 0 to 3; a and b are two packed tiles each.
AMX_INLINE void add_block(const uint16_t *a, const uint16_t *b) {
  LOAD(6, b, 64), LOAD(4, a, 64), DOT(0, 4, 6);
  LOAD(7, b + 16 * 32, 64), DOT(1, 4, 7);
  LOAD(5, a + 16 * 32, 64), DOT(2, 5, 6);
  DOT(3, 5, 7);
}

// The sums of 32×32 of C in tiles 0 to 3, from and to rows of 32 numbers; load_sums begins with zeros where acc is 0.
AMX_INLINE void load_sums(const float *c, int acc) {
  if (acc) {
    LOAD(0, c, 128), LOAD(1, c + 16, 128);
    LOAD(2, c + 16 * 32, 128), LOAD(3, c + 16 * 32 + 16, 128);
  } else {
    ZERO(0), ZERO(1), ZERO(2), ZERO(3);
  }
}
AMX_INLINE void store_sums(float *c) {
  STORE(0, c, 128), STORE(1, c + 16, 128);
  STORE(2, c + 16 * 32, 128), STORE(3, c + 16 * 32 + 16, 128);
}

AMX_INLINE void transpose16(__m512i r[16]) { // 16×16 of 32 bits
  __m512i t[16];
#pragma GCC unroll 8
  for (int i = 0; i < 8; i++) {
    t[2 * i] = _mm512_unpacklo_epi32(r[2 * i], r[2 * i + 1]);
    t[2 * i + 1] = _mm512_unpackhi_epi32(r[2 * i], r[2 * i + 1]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; i++) {
    r[4 * i] = _mm512_unpacklo_epi64(t[4 * i], t[4 * i + 2]);
    r[4 * i + 1] = _mm512_unpackhi_epi64(t[4 * i], t[4 * i + 2]);
    r[4 * i + 2] = _mm512_unpacklo_epi64(t[4 * i + 1], t[4 * i + 3]);
    r[4 * i + 3] = _mm512_unpackhi_epi64(t[4 * i + 1], t[4 * i + 3]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; i++) {
    t[i] = _mm512_shuffle_i32x4(r[i], r[4 + i], 0x88);
    t[4 + i] = _mm512_shuffle_i32x4(r[i], r[4 + i], 0xdd);
    t[8 + i] = _mm512_shuffle_i32x4(r[8 + i], r[12 + i], 0x88);
    t[12 + i] = _mm512_shuffle_i32x4(r[8 + i], r[12 + i], 0xdd);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; i++) {
    r[i] = _mm512_shuffle_i32x4(t[i], t[8 + i], 0x88);
    r[8 + i] = _mm512_shuffle_i32x4(t[i], t[8 + i], 0xdd);
    r[4 + i] = _mm512_shuffle_i32x4(t[4 + i], t[12 + i], 0x88);
    r[12 + i] = _mm512_shuffle_i32x4(t[4 + i], t[12 + i], 0xdd);
  }
}

AMX_INLINE __m512i round_pair(__m512 lo, __m512 hi, int interleave) {
  __m512i v = (__m512i)_mm512_cvtne2ps_pbh(hi, lo); // lo's 16, then hi's 16
  if (!interleave) return v;
  const __m512i order = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6, 21, 5,
                                         20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
  return _mm512_permutexvar_epi16(order, v);
}

AMX_INLINE __mmask16 first(long n) { return n >= 16 ? 0xffff : n <= 0 ? 0 : (__mmask16)((1u << n) - 1); }

// pair_rows interleaves 32 bf16 of rows 2r and 2r+1, ld apart: row r of the tiles of columns 0–15 and 16–31.
AMX_INLINE void pair_rows(const uint16_t *x, long ld, int r, __m512i *left, __m512i *right) {
  const __m512i low = _mm512_set_epi16(47, 15, 46, 14, 45, 13, 44, 12, 43, 11, 42, 10, 41, 9, 40, 8, 39, 7, 38, 6, 37, 5, 36, 4,
                                       35, 3, 34, 2, 33, 1, 32, 0);
  const __m512i high = _mm512_add_epi16(low, _mm512_set1_epi16(16));
  __m512i even = _mm512_loadu_si512(x + 2 * r * ld), odd = _mm512_loadu_si512(x + (2 * r + 1) * ld);
  *left = _mm512_permutex2var_epi16(even, low, odd), *right = _mm512_permutex2var_epi16(even, high, odd);
}

// A strip of A over a stretch of k, as tiles are loaded from it: packed blocks, or rows of a matrix.
typedef struct {
  const uint16_t *upper, *lower; // rows 0–15 and 16–31
  long ld;                       // bytes from row to row
  long step;                     // numbers from one 32 k to the next
} strip;
