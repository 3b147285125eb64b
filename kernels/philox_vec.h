// Philox for the bodies that rg_multi.h compiles with AVX2 or AVX-512: RG_WIDTH/2 blocks at a time. One vector of 64-bit lanes per
// counter word, a block per lane: the widening multiplication that Philox is made of takes the low half of each lane and ignores what
// lies above, so nothing needs masking between rounds.
#include "philox.h"

#ifndef PHILOX_VEC_ONCE
#define PHILOX_VEC_ONCE
// philox_keys are the ten rounds' keys.
typedef struct { int64_t k[10][2]; } philox_keys;
static inline philox_keys philox_schedule(const uint32_t key[2]) {
  philox_keys s;
  for (int r = 0; r < 10; r++) {
    s.k[r][0] = (uint32_t)(key[0] + (uint32_t)r * W0);
    s.k[r][1] = (uint32_t)(key[1] + (uint32_t)r * W1);
  }
  return s;
}
#define philox_vec RG_NAME(philox_vec_t)
#define philox_blocks RG_NAME(philox_blocks)
#endif

#if RG_WIDTH == 16
typedef __m512i philox_vec;
#define OP(x) _mm512_##x
#define SET64 _mm512_set1_epi64
#define ORDER _mm512_setr_epi64(0, 4, 1, 5, 2, 6, 3, 7) // lanes hold these blocks, so that unpacking yields words in order
#define XOR3(a, b, c) _mm512_ternarylogic_epi64(a, b, c, 0x96)
#define OR _mm512_or_si512
#define AND _mm512_and_si512
#elif RG_WIDTH == 8
typedef __m256i philox_vec;
#define OP(x) _mm256_##x
#define SET64 _mm256_set1_epi64x
#define ORDER _mm256_setr_epi64x(0, 2, 1, 3)
#define XOR3(a, b, c) _mm256_xor_si256(_mm256_xor_si256(a, b), c)
#define OR _mm256_or_si256
#define AND _mm256_and_si256
#endif

#if RG_WIDTH > 4
// philox_blocks writes the words of blocks (first, c[1], c[2], c[3]), (first+1, …) … in order.
static inline __attribute__((always_inline)) void philox_blocks(const philox_keys *keys, const uint32_t c[4], uint32_t first, philox_vec out[2]) {
  const philox_vec m0 = SET64(M0), m1 = SET64(M1);
  philox_vec c0 = OP(add_epi64)(ORDER, SET64(first)), c1 = SET64(c[1]), c2 = SET64(c[2]), c3 = SET64(c[3]);
#pragma GCC unroll 10
  for (int r = 0; r < 10; r++) {
    philox_vec p0 = OP(mul_epu32)(c0, m0), p1 = OP(mul_epu32)(c2, m1);
    // 0xF5 moves the high half of each lane down, on another port than the multiplications and shifts use
    c0 = XOR3(OP(shuffle_epi32)(p1, 0xF5), c1, SET64(keys->k[r][0]));
    c2 = XOR3(OP(shuffle_epi32)(p0, 0xF5), c3, SET64(keys->k[r][1]));
    c1 = p1;
    c3 = p0;
  }
  const philox_vec low = SET64(0xffffffff);
  philox_vec a = OR(AND(c0, low), OP(slli_epi64)(c1, 32)), b = OR(AND(c2, low), OP(slli_epi64)(c3, 32));
  out[0] = OP(unpacklo_epi64)(a, b), out[1] = OP(unpackhi_epi64)(a, b);
}
#endif
#undef OP
#undef SET64
#undef ORDER
#undef XOR3
#undef OR
#undef AND
