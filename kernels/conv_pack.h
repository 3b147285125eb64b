// Layout helpers of the convolution kernels, compiled once per instruction-set level inside a kernel body.

#include "rg_vec.h"

// A register tile is TILE rows of two vectors: 14·2 accumulators of the 32 registers of AVX-512, 6·2 of the 16 of AVX2.
#if RG_WIDTH == 16
#define TILE 14
#else
#define TILE 6
#endif
#define LANES (2 * RG_WIDTH)

#if RG_WIDTH == 16
// 16×16: four rounds of interleaving, of 32-bit pairs, 64-bit pairs, then 128-bit lanes twice.
static inline void RG_NAME(transpose_block)(float *dst, long ldd, const float *src, long lds, long rows, long cols) {
  __m512 a[16], b[16];
  __mmask16 in = (__mmask16)((1u << cols) - 1), out = (__mmask16)((1u << rows) - 1);
#pragma GCC unroll 16
  for (int i = 0; i < 16; i++) a[i] = i < rows ? _mm512_maskz_loadu_ps(in, src + i * lds) : _mm512_setzero_ps();
#pragma GCC unroll 8
  for (int i = 0; i < 16; i += 2) {
    b[i] = _mm512_unpacklo_ps(a[i], a[i + 1]);
    b[i + 1] = _mm512_unpackhi_ps(a[i], a[i + 1]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 16; i += 4)
#pragma GCC unroll 2
    for (int k = 0; k < 2; k++) {
      __m512d lo = _mm512_castps_pd(b[i + k]), hi = _mm512_castps_pd(b[i + k + 2]);
      a[i + 2 * k] = _mm512_castpd_ps(_mm512_unpacklo_pd(lo, hi));
      a[i + 2 * k + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(lo, hi));
    }
#pragma GCC unroll 4
  for (int k = 0; k < 4; k++) {
    b[k] = _mm512_shuffle_f32x4(a[k], a[k + 4], 0x88);
    b[k + 4] = _mm512_shuffle_f32x4(a[k], a[k + 4], 0xdd);
    b[k + 8] = _mm512_shuffle_f32x4(a[k + 8], a[k + 12], 0x88);
    b[k + 12] = _mm512_shuffle_f32x4(a[k + 8], a[k + 12], 0xdd);
  }
#pragma GCC unroll 4
  for (int k = 0; k < 4; k++) {
    a[k] = _mm512_shuffle_f32x4(b[k], b[k + 8], 0x88);
    a[k + 8] = _mm512_shuffle_f32x4(b[k], b[k + 8], 0xdd);
    a[k + 4] = _mm512_shuffle_f32x4(b[k + 4], b[k + 12], 0x88);
    a[k + 12] = _mm512_shuffle_f32x4(b[k + 4], b[k + 12], 0xdd);
  }
#pragma GCC unroll 16
  for (int i = 0; i < 16; i++)
    if (i < cols) _mm512_mask_storeu_ps(dst + i * ldd, out, a[i]);
}
#define TBLOCK 16
#else
static inline void RG_NAME(transpose_block)(float *dst, long ldd, const float *src, long lds, long rows, long cols) {
  for (long c = 0; c < cols; c++)
    for (long r = 0; r < rows; r++) dst[c * ldd + r] = src[r * lds + c];
}
#define TBLOCK 8
#endif

// dst[c][r] = src[r][c] for r < rows, c < cols; lds and ldd are the distances between rows of src and dst.
static void RG_NAME(transpose)(float *dst, long ldd, const float *src, long lds, long rows, long cols) {
  for (long r = 0; r < rows; r += TBLOCK)
    for (long c = 0; c < cols; c += TBLOCK)
      RG_NAME(transpose_block)
      (dst + c * ldd + r, ldd, src + r * lds + c, lds, rg_min(TBLOCK, rows - r), rg_min(TBLOCK, cols - c));
}
