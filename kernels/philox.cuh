// Random numbers that are a function of a key and a counter.
#pragma once
#include "device.cuh"

// Philox4x32-10 (Salmon et al., SC 2011).
DEVICE void philox(unsigned c[4], unsigned k0, unsigned k1) {
#pragma unroll
  for (int round = 0; round < 10; round++) {
    unsigned h0 = __umulhi(0xD2511F53u, c[0]), l0 = 0xD2511F53u * c[0];
    unsigned h1 = __umulhi(0xCD9E8D57u, c[2]), l1 = 0xCD9E8D57u * c[2];
    unsigned c1 = c[1], c3 = c[3];
    c[0] = h1 ^ c1 ^ k0;
    c[1] = l1;
    c[2] = h0 ^ c3 ^ k1;
    c[3] = l0;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
}
