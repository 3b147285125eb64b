//go:build cgo

// Dropout. One vector of 64-bit lanes per counter word, a block per lane: the widening multiplication that Philox is
// made of takes the low half of each lane and ignores what lies above, so nothing needs masking between rounds.
#ifndef RG_BODY
#include "dropout.h"
#include "philox.h"
#include "rg.h"

enum { CHUNK = 1 << 14 };

typedef struct {
  float *y;
  const float *x;
  uint32_t seed[2], step, lane, key, threshold;
  float scale;
  long n;
} dropout_job;

// plain does elements lo…hi−1, lo a multiple of 4.
static void plain(const dropout_job *j, long lo, long hi) {
  for (long i = lo; i < hi; i += 4) {
    uint32_t c[4] = {(uint32_t)(i / 4), j->lane, j->step, j->key};
    philox(j->seed, c);
    for (long k = i; k < rg_min(hi, i + 4); k++) j->y[k] = c[k - i] >= j->threshold ? j->x[k] * j->scale : 0;
  }
}

#define RG_SELF "dropout.c"
#include "rg_multi.h"

void rg_dropout(float *y, const float *x, const int64_t *rng, uint32_t key, uint32_t threshold, float scale, long n) {
  dropout_job j = {y, x, {(uint32_t)rng[0], (uint32_t)((uint64_t)rng[0] >> 32)}, (uint32_t)rng[1], (uint32_t)rng[2],
                   key, threshold, scale, n};
  rg_parallel(rg_ceil_div(n, CHUNK), RG_DISPATCH(dropout), &j);
}

#else
#if RG_WIDTH == 16
#define V __m512i
#define OP(x) _mm512_##x
// 64-bit lanes hold these blocks, so that unpacking below yields elements in order
#define ORDER _mm512_setr_epi64(0, 4, 1, 5, 2, 6, 3, 7)
#define XOR3(a, b, c) _mm512_ternarylogic_epi64(a, b, c, 0x96)
#define OR _mm512_or_si512
#define AND _mm512_and_si512
#define SET64 _mm512_set1_epi64
#define KEEP(at, w) \
  _mm512_storeu_ps(j->y + (at), _mm512_maskz_mul_ps(_mm512_cmpge_epu32_mask(w, threshold), _mm512_loadu_ps(j->x + (at)), scale))
#elif RG_WIDTH == 8
#define V __m256i
#define OP(x) _mm256_##x
#define ORDER _mm256_setr_epi64x(0, 2, 1, 3)
#define XOR3(a, b, c) _mm256_xor_si256(_mm256_xor_si256(a, b), c)
#define OR _mm256_or_si256
#define AND _mm256_and_si256
#define SET64 _mm256_set1_epi64x
#define KEEP(at, w)                                                                                     \
  _mm256_storeu_ps(j->y + (at),                                                                         \
                   _mm256_and_ps(_mm256_castsi256_ps(_mm256_cmpeq_epi32(_mm256_max_epu32(w, threshold), w)), \
                                 _mm256_mul_ps(_mm256_loadu_ps(j->x + (at)), scale)))
#endif

static void RG_NAME(dropout)(void *ctx, long chunk) {
  const dropout_job *j = ctx;
  long i = chunk * CHUNK, hi = rg_min(j->n, i + CHUNK);
#if RG_WIDTH > 4
  const V m0 = SET64(M0), m1 = SET64(M1), threshold = OP(set1_epi32)((int)j->threshold);
  const V order = ORDER;
  int64_t keys[10][2];
  for (int r = 0; r < 10; r++) {
    keys[r][0] = (uint32_t)(j->seed[0] + (uint32_t)r * W0);
    keys[r][1] = (uint32_t)(j->seed[1] + (uint32_t)r * W1);
  }
#if RG_WIDTH == 16
  const __m512 scale = _mm512_set1_ps(j->scale);
#else
  const __m256 scale = _mm256_set1_ps(j->scale);
#endif
  for (; i + 2 * RG_WIDTH <= hi; i += 2 * RG_WIDTH) { // RG_WIDTH/2 blocks
    V c0 = OP(add_epi64)(order, SET64(i / 4));
    V c1 = SET64(j->lane), c2 = SET64(j->step), c3 = SET64(j->key);
#pragma GCC unroll 10
    for (int r = 0; r < 10; r++) {
      V p0 = OP(mul_epu32)(c0, m0), p1 = OP(mul_epu32)(c2, m1);
      // 0xF5 moves the high half of each lane down, on another port than the multiplications and shifts use
      c0 = XOR3(OP(shuffle_epi32)(p1, 0xF5), c1, SET64(keys[r][0]));
      c2 = XOR3(OP(shuffle_epi32)(p0, 0xF5), c3, SET64(keys[r][1]));
      c1 = p1;
      c3 = p0;
    }
    const V low = SET64(0xffffffff);
    V a = OR(AND(c0, low), OP(slli_epi64)(c1, 32)), b = OR(AND(c2, low), OP(slli_epi64)(c3, 32));
    V first = OP(unpacklo_epi64)(a, b), second = OP(unpackhi_epi64)(a, b);
    KEEP(i, first);
    KEEP(i + RG_WIDTH, second);
  }
#endif
  plain(j, i, hi);
}
#undef V
#undef OP
#undef ORDER
#undef XOR3
#undef OR
#undef AND
#undef SET64
#undef KEEP
#endif
