// The pieces of tiled attention, compiled once per instruction-set level (no include guard).
//
// A tile holds up to 64 queries and 64 keys. Scores lie transposed, keys × queries, so that the softmax runs
// down columns: every lane is a query of its own and no sum or maximum crosses lanes. Under a causal mask key j
// of the tile is seen by query i iff j ≤ i + d; d ≥ 64 means that the tile is not cut by the mask.

#define VF RG_NAME(attn_vf)
#define VI RG_NAME(attn_vi)
#define VU RG_NAME(attn_vu)
#define FN(x) RG_NAME(attn_##x)
#define PIECE static __attribute__((noinline, unused))
typedef float VF __attribute__((vector_size(4 * RG_WIDTH), may_alias));
typedef int32_t VI __attribute__((vector_size(4 * RG_WIDTH), may_alias));
typedef float VU __attribute__((vector_size(4 * RG_WIDTH), aligned(4), may_alias)); // unaligned

// Vectors per block of accumulators, and rows: rows × vectors + vectors + 1 registers must fit in 32 (AVX-512)
// or 16, and rows may not exceed RG_WIDTH, so that a block never spans two masked columns.
#if RG_WIDTH == 16
#define NV_MAX 4
#else
#define NV_MAX 2
#endif
#define ROWS(nv) ((nv) == NV_MAX || RG_WIDTH == 4 ? 4 : 8)
// Rows to prefetch ahead: heads lie in pieces of one row each, which hardware prefetchers do not follow.
#define AHEAD 8

// select returns x where mask is set, else +0.
RG_INLINE VF FN(select)(VI mask, VF x) { return (VF)(mask & (VI)x); }
RG_INLINE VF FN(max)(VF a, VF b) {
#if RG_WIDTH == 16
  return (VF)_mm512_max_ps((__m512)a, (__m512)b);
#elif RG_WIDTH == 8
  return (VF)_mm256_max_ps((__m256)a, (__m256)b);
#else
  VI m = a > b;
  return (VF)((m & (VI)a) | (~m & (VI)b));
#endif
}

// 2^x for x ≤ 0 or so; exactly 0 below −125 and for NaN (both operands −∞). x = n + f with |f| ≤ ½, and
// 2^f by the degree-6 polynomial of Cephes exp2f (Moshier), relative error 1.7e-7.
RG_INLINE VF FN(exp2)(VF x) {
  VI live = x >= -125.0f;
#if RG_WIDTH == 16
  VF n = (VF)_mm512_roundscale_ps((__m512)x, 8);
#else
  x = FN(max)(x, (VF){} - 125.0f);
  VF t = x + 12582912.0f; // 1.5·2^23: the low mantissa bits now hold round(x)
  VF n = t - 12582912.0f;
#endif
  VF f = x - n;
  VF p = f * 1.535336188319500e-4f + 1.339887440266574e-3f;
  p = p * f + 9.618437357674640e-3f;
  p = p * f + 5.550332471162809e-2f;
  p = p * f + 2.402264791363012e-1f;
  p = p * f + 6.931472028550421e-1f;
  p = p * f + 1.0f;
#if RG_WIDTH == 16
  return (VF)_mm512_maskz_scalef_ps(_mm512_movepi32_mask((__m512i)live), (__m512)p, (__m512)n);
#else
  VI e = ((VI)t - 0x4B400000 + 127) << 23;
  return FN(select)(live, p * (VF)e);
#endif
}

// ln x for normal x > 0: x = 2^e·m with √½ ≤ m < √2, ln m by the polynomial of Cephes logf.
RG_INLINE VF FN(log)(VF x) {
  VI u = (VI)x - 0x3f3504f3; // bits of √½
  VI e = u >> 23;
  VF f = (VF)((u & 0x007fffff) + 0x3f3504f3) - 1.0f;
  VF n = __builtin_convertvector(e, VF), z = f * f;
  VF p = f * 7.0376836292e-2f - 1.1514610310e-1f;
  p = p * f + 1.1676998740e-1f;
  p = p * f - 1.2420140846e-1f;
  p = p * f + 1.4249322787e-1f;
  p = p * f - 1.6668057665e-1f;
  p = p * f + 2.0000714765e-1f;
  p = p * f - 2.4999993993e-1f;
  p = p * f + 3.3333331174e-1f;
  VF y = f * z * p + n * -2.12194440e-4f - 0.5f * z;
  return f + y + n * 0.693359375f;
}

// lanes returns 0, 1, 2, …
RG_INLINE VI FN(lanes)(void) {
  VI v;
  for (int i = 0; i < RG_WIDTH; i++) v[i] = i;
  return v;
}

// How the contraction index k of a product depends on its row r under the mask: k from max(0, r+lo) to
// min(n, r+rows+hi).
typedef struct { long lo, hi, n; } FN(span);
enum { FN(no_mask) = 1 << 20 };

// block: C[rows×nv·W] = A·B (fresh), C + A·B, or diag(by)·C + A·B, in registers.
RG_INLINE void FN(block)(const int rows, const int nv, long k, const float *a, long a_row, long a_k, const float *b,
                         long b_row, float *c, long c_row, int fresh, const float *by) {
  VF acc[8][NV_MAX];
#pragma GCC unroll 8
  for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
    for (int v = 0; v < nv; v++) acc[r][v] = (VF){};
  if (!fresh) {
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
      for (int v = 0; v < nv; v++) {
        acc[r][v] = *(const VF *)(c + r * c_row + v * RG_WIDTH);
        if (by) acc[r][v] *= by[r];
      }
  }
  for (; k > 0; k--, a += a_k, b += b_row) {
    VF w[NV_MAX];
#pragma GCC unroll 4
    for (int v = 0; v < nv; v++) w[v] = *(const VF *)(b + v * RG_WIDTH);
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++) {
      float s = a[r * a_row];
#pragma GCC unroll 4
      for (int v = 0; v < nv; v++) acc[r][v] += s * w[v];
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
    for (int v = 0; v < nv; v++) *(VF *)(c + r * c_row + v * RG_WIDTH) = acc[r][v];
}

// strip runs blocks of nv vectors down `m` rows (a multiple of 16) from row r0.
RG_INLINE void FN(strip)(const int nv, long r0, long m, FN(span) k, const float *a, long a_row, long a_k, const float *b,
                         long b_row, float *c, long c_row, int fresh, const float *by) {
  const int rows = ROWS(nv);
  for (long r = r0; r < r0 + m; r += rows) {
    long from = rg_max(0, r + k.lo), to = rg_min(k.n, r + rows + k.hi);
    if (to <= from && !fresh && !by) continue;
    FN(block)(rows, nv, to - from, a + r * a_row + from * a_k, a_row, a_k, b + from * b_row, b_row, c + r * c_row,
              c_row, fresh, by ? by + r : by);
  }
}

// columns runs strips over columns [n0,n) (multiples of the vector width).
RG_INLINE void FN(columns)(long r0, long m, long n0, long n, FN(span) k, const float *a, long a_row, long a_k,
                           const float *b, long b_row, float *c, long c_row, int fresh, const float *by) {
  for (long left; (left = (n - n0) / RG_WIDTH) > 0;) {
    const float *bn = b + n0;
    float *cn = c + n0;
    int nv = left >= NV_MAX ? NV_MAX : (int)left;
    // Six vectors go as three and three, rather than four and two.
    if (NV_MAX == 4 && left == 6) nv = 3;
#define STRIP(w) FN(strip)(w, r0, m, k, a, a_row, a_k, bn, b_row, cn, c_row, fresh, by)
#if NV_MAX == 4
    if (nv == 4) STRIP(4);
    else if (nv == 3) STRIP(3);
    else
#endif
    if (nv == 2) STRIP(2);
    else STRIP(1);
#undef STRIP
    n0 += nv * RG_WIDTH;
  }
}

// scores: s[keys×queries] = kᵀ-rows · qt, k (keys × ld), qt (D × 64); blocks that the mask hides are left out.
PIECE void FN(scores)(long keys, long queries, long dim, long d, const float *k, long ld,
                                                 const float *qt, float *s) {
  FN(span) all = {-FN(no_mask), FN(no_mask), dim};
  for (long j = 0; j < keys; j += RG_ATTN_GRAIN) {
    long i = j - d > 0 ? (j - d) / RG_ATTN_GRAIN * RG_ATTN_GRAIN : 0;
    FN(columns)(j, RG_ATTN_GRAIN, i, queries, all, k, ld, 1, qt, RG_ATTN_TILE, s, RG_ATTN_TILE, 1, 0);
  }
}

// by_query: o[queries×ld] (fresh, or scaled by `by`, or added to) += pᵀ·v, p (keys × 64), v (keys × ld).
PIECE void FN(by_query)(long keys, long queries, long d, const float *p, const float *v, long ld,
                                                   float *o, int fresh, const float *by) {
  FN(span) seen = {-FN(no_mask), d, keys};
  FN(columns)(0, queries, 0, ld, seen, p, 1, RG_ATTN_TILE, v, ld, o, ld, fresh, by);
}

// by_key: o[keys×ld] (fresh or added to) += p·x, p (keys × 64), x (queries × ld); keys is padded, queries exact.
PIECE void FN(by_key)(long keys, long queries, long d, const float *p, const float *x, long ld,
                                                 float *o, int fresh) {
  FN(span) seen = {-d, FN(no_mask), queries};
  FN(columns)(0, keys, 0, ld, seen, p, RG_ATTN_TILE, 1, x, ld, o, ld, fresh, 0);
}

// copy packs n rows of dim elements, scaled, into rows of ld (a multiple of the vector width), padding columns
// with zeros and rows with zeros up to a multiple of 16.
PIECE void FN(copy)(float *dst, long ld, const float *src, long row, long n, long dim, float scale) {
  for (long i = 0; i < n; i++, src += row, dst += ld) {
    long c = 0;
    for (; c + RG_WIDTH <= dim; c += RG_WIDTH) {
      __builtin_prefetch(src + AHEAD * row + c);
      *(VF *)(dst + c) = *(const VU *)(src + c) * scale;
    }
    for (; c < dim; c++) dst[c] = src[c] * scale;
    for (; c < ld; c++) dst[c] = 0;
  }
  for (; n % RG_ATTN_GRAIN; n++, dst += ld)
    for (long c = 0; c < ld; c += RG_WIDTH) *(VF *)(dst + c) = (VF){};
}

// interleave: the low or high halves of a and b, element by element; log2(W) rounds of it over rows i and
// i + W/2 transpose a W×W block.
#if RG_WIDTH == 16
#define LO(a, b) __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23)
#define HI(a, b) __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31)
#elif RG_WIDTH == 8
#define LO(a, b) __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11)
#define HI(a, b) __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15)
#else
#define LO(a, b) __builtin_shufflevector(a, b, 0, 4, 1, 5)
#define HI(a, b) __builtin_shufflevector(a, b, 2, 6, 3, 7)
#endif

// turn transposes a W×W block in registers.
RG_INLINE void FN(turn)(VF x[RG_WIDTH]) {
  VF y[RG_WIDTH];
#pragma GCC unroll 4
  for (int round = 1; round < RG_WIDTH; round *= 2) {
#pragma GCC unroll 8
    for (int r = 0; r < RG_WIDTH / 2; r++) {
      y[2 * r] = LO(x[r], x[r + RG_WIDTH / 2]);
      y[2 * r + 1] = HI(x[r], x[r + RG_WIDTH / 2]);
    }
#pragma GCC unroll 16
    for (int r = 0; r < RG_WIDTH; r++) x[r] = y[r];
  }
}

// transpose packs n rows (a multiple of 16, up to 64) of dim elements as dim rows of 64. src has rows of `row`
// elements, of which those up to the next multiple of the vector width are there to be read.
PIECE void FN(transpose)(float *dst, const float *src, long row, long n, long dim) {
  for (long i = 0; i < n; i += RG_WIDTH)
    for (long c = 0; c < dim; c += RG_WIDTH) {
      VF x[RG_WIDTH];
#pragma GCC unroll 16
      for (int r = 0; r < RG_WIDTH; r++) x[r] = *(const VF *)(src + (i + r) * row + c);
      FN(turn)(x);
#pragma GCC unroll 16
      for (int r = 0; r < RG_WIDTH; r++) *(VF *)(dst + (c + r) * RG_ATTN_TILE + i) = x[r];
    }
}
#undef LO
#undef HI

// Visible: the mask of lanes of column block i (queries i, i+1, …) that see key j.
RG_INLINE VI FN(visible)(VI lanes, long i, long j, long d) { return lanes >= (int32_t)(j - d - i); }
