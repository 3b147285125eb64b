//go:build cgo

// Weights in blocks for AMX: packing, and what products read of them.
#include "gemm_blocks.h"

#ifndef __x86_64__
void rg_blocks_pack(const rg_blocks_args *a) { (void)a; }
void rg_blocks_put(uint16_t *blocks, const float *x, long ld, long rows, long cols, long i0, long n_rows, long j0, long n_cols) {
  (void)blocks, (void)x, (void)ld, (void)rows, (void)cols, (void)i0, (void)n_rows, (void)j0, (void)n_cols;
}
void rg_blocks_strips(const rg_side *s, long i0, long strips, long k0, long kc, void *dst) {
  (void)s, (void)i0, (void)strips, (void)k0, (void)kc, (void)dst;
}
#else
#include "gemm_amx.h"
#include <string.h>

// line returns where the pair of rows that i belongs to lies, for the 16 columns that j belongs to.
RG_SMALL uint16_t *line(uint16_t *blocks, long rows, long i, long j) {
  long block = j / RG_BLOCK * rg_ceil_div(rows, RG_BLOCK) + i / RG_BLOCK;
  return blocks + block * RG_BLOCK_SIZE + j / 16 % 2 * (RG_BLOCK_SIZE / 2) + i / 2 % 16 * 32;
}

AMX void rg_blocks_put(uint16_t *blocks, const float *x, long ld, long rows, long cols, long i0, long n_rows, long j0, long n_cols) {
  int whole = i0 % 2 == 0 && j0 % 16 == 0 && (n_rows % 2 == 0 || i0 + n_rows == rows) && (n_cols % 16 == 0 || j0 + n_cols == cols);
  if (!whole) { // as kernels that do not work in tiles of 32 cut a matrix
    for (long i = i0; i < i0 + n_rows; i++)
      for (long j = j0; j < j0 + n_cols; j++) line(blocks, rows, i, j)[j % 16 * 2 + i % 2] = rg_to_bf16(x[i * ld + j]);
    return;
  }
  for (long j = j0; j < j0 + n_cols; j += 16) // whole tiles one after the other, past the caches: they are read a step later
    for (long i = i0; i < i0 + n_rows; i += 2) {
      __mmask16 m = first(cols - j);
      __m512 lo = _mm512_maskz_loadu_ps(m, x + i * ld + j), hi = _mm512_maskz_loadu_ps(i + 1 < rows ? m : 0, x + (i + 1) * ld + j);
      _mm512_stream_si512((__m512i *)line(blocks, rows, i, j), round_pair(lo, hi, 1));
    }
}

AMX static void pack_band(void *ctx, long band) {
  const rg_blocks_args *a = ctx;
  long i0 = band * RG_BLOCK, n = rg_min(RG_BLOCK, a->rows - i0), wide = rg_ceil_div(a->cols, RG_BLOCK) * RG_BLOCK;
  rg_blocks_put(a->blocks, a->x, a->cols, a->rows, a->cols, i0, n, 0, a->cols);
  const __m512i zero = _mm512_setzero_si512();
  for (long j = 0; j < wide; j += 16) // what lies past the matrix
    for (long i = j < a->cols ? i0 + (n + 1) / 2 * 2 : i0; i < i0 + RG_BLOCK; i += 2)
      _mm512_stream_si512((__m512i *)line(a->blocks, a->rows, i, j), zero);
  _mm_sfence();
}

void rg_blocks_pack(const rg_blocks_args *a) { rg_parallel(rg_ceil_div(a->rows, RG_BLOCK), pack_band, (void *)a); }

// Half a block, 16 rows of W, becomes a tile of Wᵀ: 16 pairs of columns 2p, 2p+1 by those rows.
AMX_INLINE void turn(const uint16_t *half, uint16_t *tile) {
  const __m512i even = _mm512_set_epi16(62, 60, 58, 56, 54, 52, 50, 48, 46, 44, 42, 40, 38, 36, 34, 32, 30, 28, 26, 24, 22, 20,
                                        18, 16, 14, 12, 10, 8, 6, 4, 2, 0);
  const __m512i odd = _mm512_add_epi16(even, _mm512_set1_epi16(1));
  __m512i v[16];
#pragma GCC unroll 8
  for (int q = 0; q < 8; q++) {
    __m512i left = _mm512_load_si512(half + 32 * q), right = _mm512_load_si512(half + RG_BLOCK_SIZE / 2 + 32 * q);
    v[2 * q] = _mm512_permutex2var_epi16(left, even, right);
    v[2 * q + 1] = _mm512_permutex2var_epi16(left, odd, right);
  }
  transpose16(v);
#pragma GCC unroll 16
  for (int e = 0; e < 16; e++) _mm512_store_si512((__m512i *)tile + e, v[e]);
}

AMX void rg_blocks_strips(const rg_side *s, long i0, long strips, long k0, long kc, void *dst) {
  long blocks = rg_ceil_div(kc, RG_BLOCK), first_strip = i0 / RG_BLOCK, first_k = k0 / RG_BLOCK;
  const uint16_t *at = s->at;
  uint16_t *to = dst;
  if (!s->along_k) { // W: columns of blocks, as they are
    long all = s->k_blocks;
    for (long t = 0; t < strips; t++)
      memcpy(to + t * blocks * RG_BLOCK_SIZE, at + ((first_strip + t) * all + first_k) * RG_BLOCK_SIZE, (size_t)blocks * RG_BLOCK_SIZE * 2);
    return;
  }
  long all = rg_ceil_div(s->len, RG_BLOCK);
  for (long b = 0; b < blocks; b++) // neighbours in memory are strips
    for (long t = 0; t < strips; t++) {
      const uint16_t *block = at + ((first_k + b) * all + first_strip + t) * RG_BLOCK_SIZE;
      uint16_t *d = to + (t * blocks + b) * RG_BLOCK_SIZE;
      turn(block, d), turn(block + 8 * 32, d + RG_BLOCK_SIZE / 2);
    }
}
#endif
