//go:build cgo

// Stochastic rounding to bf16. Bound by Philox: ten rounds of two multiplications for eight elements.
#include "round.h"
#include "philox.h"
#include "rg.h"
#include <string.h>

enum { CHUNK = 1 << 14, PER_BLOCK = 8 };

typedef struct {
  uint16_t *y;
  const float *x;
  uint32_t seed[2], step, key;
  long n;
} round_job;

static void chunk(void *ctx, long at) {
  const round_job *j = ctx;
  for (long i = at * CHUNK; i < rg_min(j->n, (at + 1) * CHUNK); i += PER_BLOCK) {
    uint32_t c[4] = {(uint32_t)(i / PER_BLOCK), ~0u, j->step, j->key};
    philox(j->seed, c);
    for (long k = i; k < rg_min(j->n, i + PER_BLOCK); k++) {
      uint32_t u;
      memcpy(&u, j->x + k, sizeof u);
      int finite = (u & 0x7f800000) != 0x7f800000;
      uint32_t noise = c[(k - i) / 2] >> (k - i) % 2 * 16 & 0xffff;
      j->y[k] = (u & 0x7fffffff) > 0x7f800000 ? 0x7fff : (uint16_t)((u + (finite ? noise : 0)) >> 16);
    }
  }
}

void rg_round_stochastic(uint16_t *y, const float *x, const int64_t *rng, uint32_t key, long n) {
  round_job j = {y, x, {(uint32_t)rng[0], (uint32_t)((uint64_t)rng[0] >> 32)}, (uint32_t)rng[1], key, n};
  rg_parallel(rg_ceil_div(n, CHUNK), chunk, &j);
}
