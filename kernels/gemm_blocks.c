//go:build cgo

// Weights in blocks for AMX: packing.
#include "gemm_blocks.h"

#ifndef __x86_64__
void rg_blocks_pack(const rg_blocks_args *a) { (void)a; }
void rg_blocks_put(uint16_t *blocks, const float *x, long ld, long rows, long cols, long i0, long n_rows, long j0, long n_cols) {
  (void)blocks, (void)x, (void)ld, (void)rows, (void)cols, (void)i0, (void)n_rows, (void)j0, (void)n_cols;
}
#else
#include "gemm_amx.h"

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
#endif
