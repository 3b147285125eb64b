//go:build cgo

// Dropout. Bound by Philox: ten rounds of two multiplications for four elements.
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
#include "philox_vec.h"
#if RG_WIDTH == 16
#define KEEP(at, w) \
  _mm512_storeu_ps(j->y + (at), _mm512_maskz_mul_ps(_mm512_cmpge_epu32_mask(w, threshold), _mm512_loadu_ps(j->x + (at)), scale))
#elif RG_WIDTH == 8
#define KEEP(at, w)                                                                                     \
  _mm256_storeu_ps(j->y + (at),                                                                         \
                   _mm256_and_ps(_mm256_castsi256_ps(_mm256_cmpeq_epi32(_mm256_max_epu32(w, threshold), w)), \
                                 _mm256_mul_ps(_mm256_loadu_ps(j->x + (at)), scale)))
#endif

static void RG_NAME(dropout)(void *ctx, long chunk) {
  const dropout_job *j = ctx;
  long i = chunk * CHUNK, hi = rg_min(j->n, i + CHUNK);
#if RG_WIDTH > 4
  const philox_keys keys = philox_schedule(j->seed);
  const uint32_t counter[4] = {0, j->lane, j->step, j->key};
#if RG_WIDTH == 16
  const __m512i threshold = _mm512_set1_epi32((int)j->threshold);
  const __m512 scale = _mm512_set1_ps(j->scale);
#else
  const __m256i threshold = _mm256_set1_epi32((int)j->threshold);
  const __m256 scale = _mm256_set1_ps(j->scale);
#endif
  for (; i + 2 * RG_WIDTH <= hi; i += 2 * RG_WIDTH) { // RG_WIDTH/2 blocks
    philox_vec w[2];
    philox_blocks(&keys, counter, (uint32_t)(i / 4), w);
    KEEP(i, w[0]);
    KEEP(i + RG_WIDTH, w[1]);
  }
#endif
  plain(j, i, hi);
}
#undef KEEP
#endif
