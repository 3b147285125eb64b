// Stochastic rounding to bf16 by a counter-based generator: the bits are a function of seed, step, key and place. The plain
// version is round.go; the row in runtime/graph/round.go defines the counters. Bound by memory: 6 bytes per element.
#include "philox.cuh"

#define ROUND_THREADS 256
#define ROUND_BLOCK 8 // elements that share a block of the generator

DEVICE bf16 round_with(float x, unsigned noise) {
  unsigned u = __float_as_uint(x);
  bool finite = (u & 0x7f800000u) != 0x7f800000u;
  bf16 y;
  y.bits = (u & 0x7fffffffu) > 0x7f800000u ? 0x7fff : (unsigned short)((u + (finite ? noise : 0u)) >> 16);
  return y;
}

KERNEL(round_stochastic, ROUND_THREADS, (const float *x, const int64_t *rng, bf16 *y, int64_t n, unsigned key)) {
  uint64_t seed = (uint64_t)rng[0];
  unsigned step = (unsigned)rng[1];
  for (int64_t i = first_index(); i * ROUND_BLOCK < n; i += index_stride()) {
    unsigned c[4] = {(unsigned)i, 0xffffffffu, step, key};
    philox(c, (unsigned)seed, (unsigned)(seed >> 32));
    int64_t at = i * ROUND_BLOCK;
    if (at + ROUND_BLOCK <= n) {
      Pack<float> a = load_pack(x + at), b = load_pack(x + at + 4);
      Pack<bf16> out;
#pragma unroll
      for (int k = 0; k < ROUND_BLOCK; k++) out.v[k] = round_with(k < 4 ? a.v[k % 4] : b.v[k % 4], c[k / 2] >> k % 2 * 16 & 0xffffu);
      store_pack(y + at, out);
      continue;
    }
#pragma unroll
    for (int k = 0; k < ROUND_BLOCK; k++)
      if (at + k < n) y[at + k] = round_with(x[at + k], c[k / 2] >> k % 2 * 16 & 0xffffu);
  }
}
