//go:build cgo

// Normally distributed numbers by the Box–Muller transform, two for two words of a Philox block:
//
//   u₁ = 1 − (w₀>>8)·2⁻²⁴, u₂ = (w₁>>8)·2⁻²⁴, r = √(−2 ln u₁):  y₀ = mean + std·(r·cos 2πu₂), y₁ = mean + std·(r·sin 2πu₂)
//
// in float64, rounded to float32 before std. The bits are those of Philox.FillNormal on amd64: logarithm, sine and cosine take the steps
// of Go's, each rounded by itself (no fused multiply-add), with the same coefficients. The logarithm is that of FreeBSD's msun
// (e_log.c, reduction to √½ ≤ f+1 < √2), sine and cosine are those of Cephes (Moshier, sin.c, octants around multiples of π/2). Bound by
// arithmetic: some 200 instructions, a division and a square root per vector of pairs.
#ifndef RG_BODY
#include "normal.h"
#include "philox.h"
#include "rg.h"
#include <math.h>
#include <string.h>

enum { CHUNK = 1 << 14 };

typedef struct {
  float *y;
  uint32_t key[2], counter[4];
  float mean, std;
  long n;
} normal_job;

#pragma GCC push_options
#pragma GCC optimize("fp-contract=off")
#define RG_SELF "normal.c"
#include "rg_multi.h"
#pragma GCC pop_options

void rg_normal(float *y, const uint32_t key[2], const uint32_t counter[4], float mean, float std, long n) {
  normal_job j = {y, {key[0], key[1]}, {counter[0], counter[1], counter[2], counter[3]}, mean, std, n};
  rg_parallel(rg_ceil_div(n, CHUNK), RG_DISPATCH(normal), &j);
}

#else
#include "philox_vec.h"
#define PAIRS (RG_WIDTH / 2)
#define vd RG_NAME(normal_vd)
#define vl RG_NAME(normal_vl)
#define vh RG_NAME(normal_vh)
#define FN static inline __attribute__((always_inline))
typedef double vd __attribute__((vector_size(8 * PAIRS)));
typedef int64_t vl __attribute__((vector_size(8 * PAIRS)));
typedef float vh __attribute__((vector_size(4 * PAIRS)));

// from_bits is the number below 2⁵² in each lane: as the mantissa of 2⁵² + it.
FN vd RG_NAME(from_bits)(vl x) { return (vd)(x | 0x4330000000000000) - 0x1p52; }

FN vd RG_NAME(pick)(vl mask, vd yes, vd no) { return (vd)((mask & (vl)yes) | (~mask & (vl)no)); }

FN vd RG_NAME(root)(vd x) {
#if RG_WIDTH == 16
  return (vd)_mm512_sqrt_pd((__m512d)x);
#elif RG_WIDTH == 8
  return (vd)_mm256_sqrt_pd((__m256d)x);
#else
  for (int k = 0; k < PAIRS; k++) x[k] = sqrt(x[k]);
  return x;
#endif
}

// octants is x·4/π without its fraction, 0 ≤ x < 2π.
FN vl RG_NAME(octants)(vd x) {
  x *= 0x1.45f306dc9c883p0;
#if RG_WIDTH == 16
  return (vl)_mm512_cvttpd_epi64((__m512d)x);
#elif RG_WIDTH == 8
  return (vl)_mm256_cvtepi32_epi64(_mm256_cvttpd_epi32((__m256d)x));
#else
  vl j;
  for (int k = 0; k < PAIRS; k++) j[k] = (int64_t)x[k];
  return j;
#endif
}

// log_of is ln x for 2⁻²⁴ ≤ x ≤ 1: with x = 2ᵏ·(1+f) and s = f/(2+f), ln(1+f) = f − hfsq + s·(hfsq + R(s²)), hfsq = f²/2.
FN vd RG_NAME(log_of)(vd x) {
  vd k = RG_NAME(from_bits)((vl)x >> 52) - 1022, f = (vd)(((vl)x & 0xFFFFFFFFFFFFF) | 0x3FE0000000000000);
  vl low = f < 0x1.6a09e667f3bcdp-1; // √½
  k -= RG_NAME(pick)(low, (vd){} + 1, (vd){});
  f = f * RG_NAME(pick)(low, (vd){} + 2, (vd){} + 1) - 1;
  vd s = f / (f + 2), s2 = s * s, s4 = s2 * s2;
  vd odd = s2 * (0x1.5555555555593p-1 + s4 * (0x1.2492494229359p-2 + s4 * (0x1.7466496cb03dep-3 + s4 * 0x1.2f112df3e5244p-3)));
  vd even = s4 * (0x1.999999997fa04p-2 + s4 * (0x1.c71c51d8e78afp-3 + s4 * 0x1.39a09d078c69fp-3));
  vd hfsq = 0.5 * f * f;
  return k * 0x1.62e42feep-1 - ((hfsq - (s * (odd + even + hfsq) + k * 0x1.a39ef35793c76p-33)) - f);
}

// turn sets sine and cosine of x, 0 ≤ x < 2π: of its distance z to the nearest even octant, exchanged and negated by quadrant.
FN void RG_NAME(turn)(vd x, vd *sine, vd *cosine) {
  vl j = RG_NAME(octants)(x);
  j += j & 1;
  vd y = RG_NAME(from_bits)(j), z = ((x - y * 0x1.921fb4p-1) - y * 0x1.4442dp-25) - y * 0x1.8469898cc517p-49, zz = z * z;
  vd c = 1.0 - 0.5 * zz +
         zz * zz * ((((((-0x1.8fa49a0861a9bp-37 * zz) + 0x1.1ee9d7b4e3f05p-29) * zz + -0x1.27e4f7eac4bc6p-22) * zz + 0x1.a01a019c844f5p-16) * zz +
                     -0x1.6c16c16c14f91p-10) * zz + 0x1.555555555554bp-5);
  vd s = z + z * zz * ((((((0x1.5d8fd1fd19ccdp-33 * zz) + -0x1.ae5e5a9291f5dp-26) * zz + 0x1.71de3567d48a1p-19) * zz + -0x1.a01a019bfdf03p-13) * zz +
                        0x1.111111110f7d0p-7) * zz + -0x1.5555555555548p-3);
  vl quadrant = j >> 1 & 3, swap = (quadrant & 1) != 0;
  vl below = quadrant << 62 & INT64_MIN, left = (quadrant + 1) << 62 & INT64_MIN; // signs of sine and cosine
  *sine = (vd)((vl)RG_NAME(pick)(swap, c, s) ^ below), *cosine = (vd)((vl)RG_NAME(pick)(swap, s, c) ^ left);
}

// pairs writes 2·PAIRS numbers of as many words, the first of each pair in the lower half of a lane.
FN void RG_NAME(pairs)(const normal_job *j, vl words, float *y) {
  vd u1 = 1 - RG_NAME(from_bits)(words >> 8 & 0xFFFFFF) * 0x1p-24, u2 = RG_NAME(from_bits)(words >> 40 & 0xFFFFFF) * 0x1p-24;
  vd sine, cosine, r = RG_NAME(root)(-2 * RG_NAME(log_of)(u1));
  RG_NAME(turn)(0x1.921fb54442d18p2 * u2, &sine, &cosine);
  vh first = __builtin_convertvector(r * cosine, vh), second = __builtin_convertvector(r * sine, vh);
  first = j->mean + j->std * first, second = j->mean + j->std * second;
  for (int k = 0; k < PAIRS; k++) y[2 * k] = first[k], y[2 * k + 1] = second[k];
}

static void RG_NAME(normal)(void *ctx, long chunk) {
  const normal_job *j = ctx;
  const long hi = rg_min(j->n, (chunk + 1) * CHUNK);
#if RG_WIDTH > 4
  const philox_keys keys = philox_schedule(j->key);
#endif
  for (long i = chunk * CHUNK; i < hi; i += 2 * RG_WIDTH) { // RG_WIDTH/2 blocks
    vl words[2];
    float y[2 * RG_WIDTH];
    uint32_t first = j->counter[0] + (uint32_t)(i / 4);
#if RG_WIDTH > 4
    philox_vec w[2];
    philox_blocks(&keys, j->counter, first, w);
    memcpy(words, w, sizeof words);
#else
    for (int b = 0; b < RG_WIDTH / 2; b++) {
      uint32_t c[4] = {first + (uint32_t)b, j->counter[1], j->counter[2], j->counter[3]};
      philox(j->key, c);
      memcpy((char *)words + sizeof c * b, c, sizeof c);
    }
#endif
    float *to = hi - i >= 2 * RG_WIDTH ? j->y + i : y;
    RG_NAME(pairs)(j, words[0], to);
    RG_NAME(pairs)(j, words[1], to + RG_WIDTH);
    if (to == y) memcpy(j->y + i, y, sizeof(float) * (hi - i));
  }
}
#undef FN
#undef PAIRS
#undef vd
#undef vl
#undef vh
#endif
