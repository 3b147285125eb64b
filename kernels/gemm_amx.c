//go:build cgo

// Matrix products on AMX tiles (Intel SDM vol. 1 ch. 18; TDPBF16PS): 32×32 of C in four tile registers, f32 accumulators.
//
// bf16:  factors rounded to bf16, to nearest even.
// split: x = x₁+x₂+x₃ exactly, each a bf16: x₁ = round(x), x₂ = round(x−x₁), x₃ = x−x₁−x₂, |x₂| ≤ 2⁻⁸|x|, |x₃| ≤ 2⁻¹⁶|x|.
//        Then a·b = a₁b₁ + (a₁b₂+a₂b₁) + (a₁b₃+a₂b₂+a₃b₁) up to 2⁻²⁴|a·b|, f32's own rounding. AMX takes subnormal factors
//        as zero and flushes subnormal sums: parts of |x| below 2⁻¹¹⁰ lose accuracy, which f32 products of such x with
//        anything of ordinary size lose too. Rounding may make an infinity of a number next to the largest one, and
//        ∞−∞ a NaN of an infinity: the driver computes tiles that are not finite again (rg_kind.exact).
#include "gemm_tile.h"

#ifndef __x86_64__
const rg_kind *rg_kind_bf16(void) { return NULL; }
const rg_kind *rg_kind_split(void) { return NULL; }
#else
#include "gemm_split.h"

enum { FAR_BYTES = 2 << 20 }; // a factor larger than this does not lie in the second-level cache

// --- tiles --------------------------------------------------------------------------------------------------------
AMX static void enter(void) { tiles_config(); }
AMX static void leave(void) { _tile_release(); }

// The upper or left half alone.
#define LOAD_UPPER(p) LOAD(4, (p), 64)
#define LOAD_LEFT(p) LOAD(6, (p), 64)
#define MULTIPLY_UPPER() DOT(0, 4, 6), DOT(1, 4, 7)
#define MULTIPLY_LEFT() DOT(0, 4, 6), DOT(2, 5, 6)

AMX static void micro_bf16(long kc, const void *pa, const void *pb, float *c, int acc, long rows, long cols) {
  const uint16_t *a = pa, *b = pb;
  if (cols <= 16 || rows <= 16) { // half a tile is empty: one column, or one row, of tiles
    long step = rows <= 16 ? 0 : TILE;
    if (acc) LOAD(0, c, 128), LOAD(2, rows <= 16 ? c + 16 : c + 16 * STRIP, 128);
    else ZERO(0), ZERO(2);
    for (; kc > 0; kc -= KBLOCK, a += 2 * TILE, b += 2 * TILE) {
      LOAD(4, a, 64), LOAD(6, b, 64), DOT(0, 4, 6);
      if (step) LOAD(5, a + TILE, 64), DOT(2, 5, 6);
      else LOAD(7, b + TILE, 64), DOT(2, 4, 7);
    }
    STORE(0, c, 128), STORE(2, rows <= 16 ? c + 16 : c + 16 * STRIP, 128);
    return;
  }
  load_sums(c, acc);
  for (; kc > 0; kc -= KBLOCK, a += 2 * TILE, b += 2 * TILE) add_block(a, b);
  store_sums(c);
}

// Small terms first; each step changes one operand, so that 14 loads serve 24 products. Where the tile's lower or right half
// is empty, half of the products are left out.
AMX static void micro_split(long kc, const void *pa, const void *pb, float *c, int acc, long rows, long cols) {
  enum { P1 = 0, P2 = 2 * TILE, P3 = 4 * TILE };
  const uint16_t *a = pa, *b = pb;
  load_sums(c, acc);
#define SUM(LEFT, RIGHT, PRODUCTS)                                                                                     \
  for (; kc > 0; kc -= KBLOCK, a += 6 * TILE, b += 6 * TILE) {                                                         \
    LEFT(a + P3), RIGHT(b + P1), PRODUCTS();                                                                           \
    LEFT(a + P2), PRODUCTS();                                                                                          \
    RIGHT(b + P2), PRODUCTS();                                                                                         \
    LEFT(a + P1), PRODUCTS();                                                                                          \
    RIGHT(b + P3), PRODUCTS();                                                                                         \
    RIGHT(b + P1), PRODUCTS();                                                                                         \
  }
  if (rows <= 16) SUM(LOAD_UPPER, LOAD_B, MULTIPLY_UPPER)
  else if (cols <= 16) SUM(LOAD_A, LOAD_LEFT, MULTIPLY_LEFT)
  else SUM(LOAD_A, LOAD_B, MULTIPLY)
#undef SUM
  store_sums(c);
}

// write_rows is the end of whole rows of a tile that nothing is added to; bf16 is rounded to bf16 by the CPU's own instruction.
AMX static void write_rows(const float *tile, void *c, long ldc, int c_bf16, long rows) {
  uint16_t *h = c;
  float *f = c;
  if (c_bf16)
    for (long i = 0; i < rows; i++, tile += STRIP, h += ldc)
      _mm512_storeu_si512(h, (__m512i)_mm512_cvtne2ps_pbh(_mm512_load_ps(tile + 16), _mm512_load_ps(tile)));
  else
    for (long i = 0; i < rows; i++, tile += STRIP, f += ldc) {
      _mm512_storeu_ps(f, _mm512_load_ps(tile));
      _mm512_storeu_ps(f + 16, _mm512_load_ps(tile + 16));
    }
}

// --- packing ------------------------------------------------------------------------------------------------------
// A tile's row holds 16 pairs of k: bf16 pairs k with k+1 (as memory does), split pairs k with k+16 (fewer shuffles).
// A's tile rows are rows of A, B's tile rows are pairs of k; a source that lies the other way is transposed in registers.

// load16 reads up to 16 elements as f32; lanes outside the mask are 0 and not touched.
AMX_INLINE __m512 load16(const void *p, long i, int bf16, __mmask16 m) {
  if (!bf16) return _mm512_maskz_loadu_ps(m, (const float *)p + i);
  __m512i w = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(m, (const uint16_t *)p + i));
  return _mm512_castsi512_ps(_mm512_slli_epi32(w, 16));
}

// fetch_pair is row e of a tile at (i,k) before splitting or rounding: two vectors of f32. full: no end is near.
AMX_INLINE void fetch_pair(const rg_side *s, long i, long k, long k_end, int e, int split, int bf16, int along_k, int full, __m512 *lo,
                           __m512 *hi) {
  if (along_k) { // e counts rows or columns
    long at = (i + e) * s->ld + k, left = full || i + e < s->len ? k_end - k : 0;
    *lo = load16(s->at, at, bf16, full ? 0xffff : first(left)), *hi = load16(s->at, at + 16, bf16, full ? 0xffff : first(left - 16));
  } else { // e counts pairs of k
    long k0 = k + (split ? e : 2 * e), k1 = k0 + (split ? 16 : 1);
    __mmask16 m = full ? 0xffff : first(s->len - i);
    *lo = load16(s->at, k0 * s->ld + i, bf16, full || k0 < k_end ? m : 0);
    *hi = load16(s->at, k1 * s->ld + i, bf16, full || k1 < k_end ? m : 0);
  }
}

// copy_pair is row e of a tile whose source is bf16 already.
AMX_INLINE __m512i copy_pair(const rg_side *s, long i, long k, long k_end, int e, int along_k, int full) {
  const uint16_t *at = s->at;
  if (along_k) {
    long left = full || i + e < s->len ? k_end - k : 0;
    __mmask32 m = full || left >= 32 ? 0xffffffff : (1u << rg_max(left, 0)) - 1;
    return _mm512_maskz_loadu_epi16(m, at + (i + e) * s->ld + k);
  }
  long k0 = k + 2 * e;
  __mmask16 m = full ? 0xffff : first(s->len - i);
  __m256i lo = _mm256_maskz_loadu_epi16(full || k0 < k_end ? m : 0, at + k0 * s->ld + i);
  __m256i hi = _mm256_maskz_loadu_epi16(full || k0 + 1 < k_end ? m : 0, at + (k0 + 1) * s->ld + i);
  return _mm512_or_si512(_mm512_cvtepu16_epi32(lo), _mm512_slli_epi32(_mm512_cvtepu16_epi32(hi), 16));
}

// pack_tile writes the tile (one per part, 2·TILE apart) of 16 rows or columns from i and 32 k from k. Masked-out lanes
// are never touched, so addresses past the matrix do no harm.
AMX_INLINE void pack_tile(const rg_side *s, long i, long k, long k_end, int split, int bf16, int along_k, int transpose, int full,
                          uint16_t *dst) {
  const int parts = split ? 3 : 1;
  __m512i v[3 * 16];
  if (split && transpose) { // before it is split: two halves to transpose, not three parts
    __m512i half[2][16];
#pragma GCC unroll 16
    for (int e = 0; e < 16; e++) {
      __m512 lo, hi;
      fetch_pair(s, i, k, k_end, e, 1, bf16, along_k, full, &lo, &hi);
      half[0][e] = _mm512_castps_si512(lo), half[1][e] = _mm512_castps_si512(hi);
    }
    transpose16(half[0]), transpose16(half[1]);
#pragma GCC unroll 16
    for (int e = 0; e < 16; e++) {
      split_pair(_mm512_castsi512_ps(half[0][e]), _mm512_castsi512_ps(half[1][e]), v + e);
      for (int p = 0; p < 3; p++) _mm512_store_si512((__m512i *)(dst + p * 2 * TILE) + e, v[16 * p + e]);
    }
    return;
  }
#pragma GCC unroll 16
  for (int e = 0; e < 16; e++) {
    __m512 lo, hi;
    if (!split && bf16) v[e] = copy_pair(s, i, k, k_end, e, along_k, full);
    else fetch_pair(s, i, k, k_end, e, split, bf16, along_k, full, &lo, &hi);
    if (split) split_pair(lo, hi, v + e);
    else if (!bf16) v[e] = round_pair(lo, hi, !along_k);
    if (!transpose)
      for (int p = 0; p < parts; p++) _mm512_store_si512((__m512i *)(dst + p * 2 * TILE) + e, v[16 * p + e]);
  }
  if (!transpose) return;
  for (int p = 0; p < parts; p++) {
    transpose16(v + 16 * p);
#pragma GCC unroll 16
    for (int e = 0; e < 16; e++) _mm512_store_si512((__m512i *)(dst + p * 2 * TILE) + e, v[16 * p + e]);
  }
}

// pack_rows packs 32 rows of k over whole strips of B from bf16, 256 bytes of two rows at a time: the CPU fetches ahead along rows. Strips
// lie `next` numbers apart.
AMX_INLINE void pack_rows(const uint16_t *x, long ld, long strips, uint16_t *dst, long next) {
  enum { BESIDE = 4 };
  for (long t0 = 0; t0 < strips; t0 += BESIDE)
    for (int r = 0; r < 16; r++)
      for (long t = t0; t < rg_min(strips, t0 + BESIDE); t++) {
        uint16_t *d = dst + t * next + r * 32;
        __m512i left, right;
        pair_rows(x + t * STRIP, ld, r, &left, &right);
        _mm512_store_si512(d, left), _mm512_store_si512(d + TILE, right);
      }
}

// pack_turned packs 32 k of a whole strip of A from bf16 whose rows are k.
AMX_INLINE void pack_turned(const uint16_t *x, long ld, uint16_t *dst) {
  __m512i half[2][16];
#pragma GCC unroll 16
  for (int r = 0; r < 16; r++) pair_rows(x, ld, r, half[0] + r, half[1] + r);
  for (int h = 0; h < 2; h++) {
    transpose16(half[h]);
#pragma GCC unroll 16
    for (int r = 0; r < 16; r++) _mm512_store_si512(dst + h * TILE + 32 * r, half[h][r]);
  }
}

// fetch_strip asks for 32 k of the strip at i: the CPU looks ahead along rows, not from row to row.
AMX_INLINE void fetch_strip(const rg_side *s, long i, long k, int bf16) {
  for (long e = i; e < rg_min(i + STRIP, s->len); e++) {
    const char *at = (const char *)s->at + (e * s->ld + k) * (bf16 ? 2 : 4);
    __builtin_prefetch(at, 0, 2);
    if (!bf16) __builtin_prefetch(at + 64, 0, 2);
  }
}

AMX_INLINE void pack(const rg_side *s, long i0, long strips, long k0, long kc, int split, int is_b, int bf16, int along_k,
                     uint16_t *dst) {
  long blocks = rg_ceil_div(kc, KBLOCK), block = (split ? 6 : 2) * TILE;
  int far = split && along_k && s->len * s->ld * (bf16 ? 2 : 4) > FAR_BYTES;
  // What is next to each other in memory is read in turn: k within a strip, or strips within a block of k.
  for (long n = 0; n < blocks * strips; n++) {
    long b = along_k ? n % blocks : n / strips, t = along_k ? n / blocks : n % strips;
    uint16_t *d = dst + (t * blocks + b) * block;
    long i = i0 + t * STRIP, k = k0 + b * KBLOCK;
    if (far) fetch_strip(s, i + STRIP, k, bf16);
    if (bf16 && !split && !along_k && i + STRIP <= s->len && k + KBLOCK <= k0 + kc) {
      const uint16_t *x = (const uint16_t *)s->at + k * s->ld + i;
      if (!is_b) pack_turned(x, s->ld, d);
      else if (t == 0) pack_rows(x, s->ld, rg_min(strips, (s->len - i) / STRIP), d, blocks * block);
      continue;
    }
    for (int h = 0; h < 2; h++, i += 16, d += TILE)
      if (i + 16 <= s->len && k + KBLOCK <= k0 + kc) pack_tile(s, i, k, k0 + kc, split, bf16, along_k, along_k == is_b, 1, d);
      else pack_tile(s, i, k, k0 + kc, split, bf16, along_k, along_k == is_b, 0, d);
  }
}

// PACKER makes the four versions of a packer, so that nothing is decided per element.
#define PACKER(name, split, is_b)                                                                                      \
  AMX static void name##_f32_k(const rg_side *s, long i, long n, long k, long kc, void *d) { pack(s, i, n, k, kc, split, is_b, 0, 1, d); } \
  AMX static void name##_f32_i(const rg_side *s, long i, long n, long k, long kc, void *d) { pack(s, i, n, k, kc, split, is_b, 0, 0, d); } \
  AMX static void name##_b16_k(const rg_side *s, long i, long n, long k, long kc, void *d) { pack(s, i, n, k, kc, split, is_b, 1, 1, d); } \
  AMX static void name##_b16_i(const rg_side *s, long i, long n, long k, long kc, void *d) { pack(s, i, n, k, kc, split, is_b, 1, 0, d); } \
  static void name(const rg_side *s, long i, long n, long k, long kc, void *d) {                                       \
    if (s->bf16) (s->along_k ? name##_b16_k : name##_b16_i)(s, i, n, k, kc, d);                                        \
    else (s->along_k ? name##_f32_k : name##_f32_i)(s, i, n, k, kc, d);                                                \
  }
PACKER(pack_a_bf16, 0, 0)
PACKER(pack_b_bf16, 0, 1)
PACKER(pack_a_split, 1, 0)
PACKER(pack_b_split, 1, 1)

static const rg_kind kind_bf16 = {.mr = STRIP, .nr = STRIP, .kunit = KBLOCK, .bytes = 2, .kpack = 3072, .kinner = 256, .exact = 1,
    .pack_a = pack_a_bf16, .pack_b = pack_b_bf16, .micro = micro_bf16, .write = write_rows, .enter = enter, .leave = leave};
static const rg_kind kind_split = {.mr = STRIP, .nr = STRIP, .kunit = KBLOCK, .bytes = 6, .kpack = 1024, .kinner = 1024, .exact = 0,
    .pack_a = pack_a_split, .pack_b = pack_b_split, .micro = micro_split, .write = write_rows, .enter = enter, .leave = leave};

const rg_kind *rg_kind_bf16(void) { return rg_isa >= RG_AMX ? &kind_bf16 : NULL; }
const rg_kind *rg_kind_split(void) { return rg_isa >= RG_AMX ? &kind_split : NULL; }
#endif
