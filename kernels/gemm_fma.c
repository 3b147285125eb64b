//go:build cgo

// Matrix products by f32 multiply-add: a tile of MR rows and NV vectors of C in registers, one column of A and one row of B
// per step. 8×48 (AVX-512) keeps 24 accumulators, enough to hide the latency of two multiply-adds a cycle; 4×24 (AVX2) and
// 4×8 (128-bit vectors) do the same with 16 registers.
#ifndef RG_BODY
#include "gemm_tile.h"
#define RG_SELF "gemm_fma.c"
#include "rg_multi.h"
const rg_kind *rg_kind_fma(void) { return RG_DISPATCH(kind_fma)(); }
#else

#if RG_WIDTH == 16
#define MR 8
#define NV 3
#elif RG_WIDTH == 8
#define MR 4
#define NV 3
#else
#define MR 4
#define NV 2
#endif
#define NR (NV * RG_WIDTH)
#define vec RG_NAME(gemm_vec)
#define vec4 RG_NAME(gemm_vec4)
typedef float vec __attribute__((vector_size(4 * RG_WIDTH)));
typedef float vec4 __attribute__((vector_size(16), aligned(4)));

// tile (MR,NR) = or += Σ_p a[p][MR]ᵀ·b[p][NR]
static void RG_NAME(micro_fma)(long kc, const void *pa, const void *pb, float *tile, int acc, long rows, long cols) {
  const float *a = pa;
  const vec *b = pb;
  vec c[MR][NV], *t = (vec *)tile;
  (void)rows, (void)cols;
#pragma GCC unroll 8
  for (int i = 0; i < MR; i++)
#pragma GCC unroll 3
    for (int j = 0; j < NV; j++) c[i][j] = acc ? t[i * NV + j] : (vec){0};
  for (long p = 0; p < kc; p++, a += MR, b += NV) {
    vec bv[NV];
#pragma GCC unroll 3
    for (int j = 0; j < NV; j++) bv[j] = b[j];
#pragma GCC unroll 8
    for (int i = 0; i < MR; i++)
#pragma GCC unroll 3
      for (int j = 0; j < NV; j++) c[i][j] += a[i] * bv[j];
  }
#pragma GCC unroll 8
  for (int i = 0; i < MR; i++)
#pragma GCC unroll 3
    for (int j = 0; j < NV; j++) t[i * NV + j] = c[i][j];
}

#define fetch RG_NAME(gemm_fetch)
static inline __attribute__((always_inline)) float fetch(const void *p, long i, int bf16) {
  return bf16 ? rg_from_bf16(((const uint16_t *)p)[i]) : ((const float *)p)[i];
}

// pack writes strips [kc][width]; rows past the matrix are zeros. width is a multiple of 4.
static inline __attribute__((always_inline)) void RG_NAME(pack_fma)(const rg_side *s, long i0, long strips, long k0, long kc,
                                                                    long width, int bf16, float *dst) {
  for (long t = 0; t < strips; t++) {
    long i = i0 + t * width, valid = rg_min(width, s->len - i);
    float *d = dst + t * width * kc;
    if (!s->along_k) {
      for (long p = 0; p < kc; p++, d += width) {
        long at = (k0 + p) * s->ld + i;
        if (valid == width)
          for (long e = 0; e < width; e++) d[e] = fetch(s->at, at + e, bf16);
        else
          for (long e = 0; e < width; e++) d[e] = e < valid ? fetch(s->at, at + e, bf16) : 0;
      }
      continue;
    }
    for (long e = 0; e < width; e += 4) {
      long p = 0;
      for (; !bf16 && e + 4 <= valid && p + 4 <= kc; p += 4) { // 4×4 transposed in registers
        const float *r = (const float *)s->at + (i + e) * s->ld + k0 + p;
        vec4 x0 = *(const vec4 *)r, x1 = *(const vec4 *)(r + s->ld), x2 = *(const vec4 *)(r + 2 * s->ld), x3 = *(const vec4 *)(r + 3 * s->ld);
        vec4 y0 = __builtin_shufflevector(x0, x1, 0, 4, 1, 5), y1 = __builtin_shufflevector(x2, x3, 0, 4, 1, 5);
        vec4 y2 = __builtin_shufflevector(x0, x1, 2, 6, 3, 7), y3 = __builtin_shufflevector(x2, x3, 2, 6, 3, 7);
        float *o = d + p * width + e;
        *(vec4 *)o = __builtin_shufflevector(y0, y1, 0, 1, 4, 5);
        *(vec4 *)(o + width) = __builtin_shufflevector(y0, y1, 2, 3, 6, 7);
        *(vec4 *)(o + 2 * width) = __builtin_shufflevector(y2, y3, 0, 1, 4, 5);
        *(vec4 *)(o + 3 * width) = __builtin_shufflevector(y2, y3, 2, 3, 6, 7);
      }
      for (; p < kc; p++)
        for (long f = e; f < e + 4; f++) d[p * width + f] = f < valid ? fetch(s->at, (i + f) * s->ld + k0 + p, bf16) : 0;
    }
  }
}
static void RG_NAME(pack_fma_a)(const rg_side *s, long i0, long strips, long k0, long kc, void *dst) {
  if (s->bf16) RG_NAME(pack_fma)(s, i0, strips, k0, kc, MR, 1, dst);
  else RG_NAME(pack_fma)(s, i0, strips, k0, kc, MR, 0, dst);
}
static void RG_NAME(pack_fma_b)(const rg_side *s, long i0, long strips, long k0, long kc, void *dst) {
  if (s->bf16) RG_NAME(pack_fma)(s, i0, strips, k0, kc, NR, 1, dst);
  else RG_NAME(pack_fma)(s, i0, strips, k0, kc, NR, 0, dst);
}

static const rg_kind RG_NAME(kind_fma_row) = {.mr = MR, .nr = NR, .kunit = 1, .bytes = 4, .kpack = 512, .kinner = 512, .exact = 1,
    .pack_a = RG_NAME(pack_fma_a), .pack_b = RG_NAME(pack_fma_b), .micro = RG_NAME(micro_fma)};
static const rg_kind *RG_NAME(kind_fma)(void) { return &RG_NAME(kind_fma_row); }

#undef MR
#undef NV
#undef NR
#undef vec
#undef vec4
#undef fetch
#endif
