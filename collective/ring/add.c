//go:build cgo
// Sums and conversions of vectors, as loops that the compiler vectorises: once for any processor, and on x86-64
// once for AVX2 with F16C and once for AVX-512. add.go has the plain versions; results are equal to the bit, which a test checks.
#include "add.h"

#define BODY(SUFFIX, ATTR)                                                                                                   \
  ATTR static void f32##SUFFIX(float *d, const float *a, const float *b, long n) { for (long i = 0; i < n; i++) d[i] = a[i] + b[i]; }    \
  ATTR static void f64##SUFFIX(double *d, const double *a, const double *b, long n) { for (long i = 0; i < n; i++) d[i] = a[i] + b[i]; } \
  ATTR static void i32##SUFFIX(uint32_t *d, const uint32_t *a, const uint32_t *b, long n) { for (long i = 0; i < n; i++) d[i] = a[i] + b[i]; } \
  ATTR static void bf16##SUFFIX(uint16_t *d, const uint16_t *a, const uint16_t *b, long n) {                                 \
    for (long i = 0; i < n; i++) d[i] = narrow(wide(a[i]) + wide(b[i]));                                                     \
  }                                                                                                                          \
  ATTR static void to_bf16##SUFFIX(uint16_t *d, const float *a, long n) { for (long i = 0; i < n; i++) d[i] = narrow(a[i]); }\
  ATTR static void from_bf16##SUFFIX(float *d, const uint16_t *a, long n) { for (long i = 0; i < n; i++) d[i] = wide(a[i]); }\
  ATTR static void add_bf16##SUFFIX(float *d, const uint16_t *a, long n) { for (long i = 0; i < n; i++) d[i] += wide(a[i]); }

#pragma GCC optimize("O3", "no-math-errno", "no-trapping-math")

static inline __attribute__((always_inline)) float wide(uint16_t h) {
  union { uint32_t u; float f; } v = {(uint32_t)h << 16};
  return v.f;
}
// Round to nearest, ties to even; a NaN stays one, as tensor.BF16FromF32 does it.
static inline __attribute__((always_inline)) uint16_t narrow(float f) {
  union { float f; uint32_t u; } v = {f};
  uint32_t r = (v.u + 0x7fff + (v.u >> 16 & 1)) >> 16, nan = v.u >> 16 | 0x40;
  return (uint16_t)((v.u & 0x7fffffff) > 0x7f800000 ? nan : r);
}

#ifdef __x86_64__
#include <immintrin.h>
BODY(_base, )
BODY(_avx2, __attribute__((target("avx2"))))
BODY(_avx512, __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,prefer-vector-width=512"))))

__attribute__((target("avx2,f16c"))) static long f16_f16c(uint16_t *d, const uint16_t *a, const uint16_t *b, long n) {
  long i = 0;
  for (; i + 8 <= n; i += 8) {
    __m256 x = _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(a + i))), y = _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(b + i)));
    _mm_storeu_si128((__m128i *)(d + i), _mm256_cvtps_ph(_mm256_add_ps(x, y), _MM_FROUND_TO_NEAREST_INT));
  }
  return i;
}

static int level(void) {
  static int known;
  if (!known) {
    __builtin_cpu_init();
    known = 1 + (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") ? 2
                 : __builtin_cpu_supports("avx2") && __builtin_cpu_supports("f16c")  ? 1 : 0);
  }
  return known - 1;
}
#define CALL(NAME, ...) (level() == 2 ? NAME##_avx512(__VA_ARGS__) : level() == 1 ? NAME##_avx2(__VA_ARGS__) : NAME##_base(__VA_ARGS__))
long ring_add_f16(uint16_t *d, const uint16_t *a, const uint16_t *b, long n) { return level() ? f16_f16c(d, a, b, n) : 0; }
#else
BODY(_base, )
#define CALL(NAME, ...) NAME##_base(__VA_ARGS__)
long ring_add_f16(uint16_t *d, const uint16_t *a, const uint16_t *b, long n) { return 0; }
#endif

void ring_add_f32(float *d, const float *a, const float *b, long n) { CALL(f32, d, a, b, n); }
void ring_add_f64(double *d, const double *a, const double *b, long n) { CALL(f64, d, a, b, n); }
void ring_add_i32(uint32_t *d, const uint32_t *a, const uint32_t *b, long n) { CALL(i32, d, a, b, n); }
void ring_add_bf16(uint16_t *d, const uint16_t *a, const uint16_t *b, long n) { CALL(bf16, d, a, b, n); }
void ring_to_bf16(uint16_t *d, const float *a, long n) { CALL(to_bf16, d, a, n); }
void ring_from_bf16(float *d, const uint16_t *a, long n) { CALL(from_bf16, d, a, n); }
void ring_sum_bf16(float *d, const uint16_t *a, long n) { CALL(add_bf16, d, a, n); }
