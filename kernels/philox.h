// Philox4x32-10 (Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011), one block at a time.
#pragma once
#include <stdint.h>

// Multipliers and Weyl increments of table 2.
static const uint32_t M0 = 0xD2511F53, M1 = 0xCD9E8D57, W0 = 0x9E3779B9, W1 = 0xBB67AE85;

// philox replaces the counter c by its block of four words, under the key k.
static inline void philox(const uint32_t k[2], uint32_t c[4]) {
  uint32_t k0 = k[0], k1 = k[1];
  for (int i = 0; i < 10; i++, k0 += W0, k1 += W1) {
    uint64_t p0 = (uint64_t)M0 * c[0], p1 = (uint64_t)M1 * c[2];
    c[0] = (uint32_t)(p1 >> 32) ^ c[1] ^ k0;
    c[1] = (uint32_t)p1;
    c[2] = (uint32_t)(p0 >> 32) ^ c[3] ^ k1;
    c[3] = (uint32_t)p0;
  }
}
