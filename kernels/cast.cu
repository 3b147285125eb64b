// Conversions between element types, and the tests of floats. The plain version is castRef of unary.go.
#include "device.cuh"

#define CAST_THREADS 256

struct truth { // Bool: one byte, 0 or 1
  unsigned char byte;
};

// Saturated: floats become integers by truncation, limited to the type's range; NaN becomes 0. From lo down they
// are least, from hi up most.
template <class To> DEVICE To saturated(float x, float lo, float hi, To least, To most) {
  return x != x ? (To)0 : x <= lo ? least : x >= hi ? most : (To)x;
}

template <class To> struct Cast;
template <> struct Cast<float> {
  static DEVICE_MEMBER float of(float x) { return x; }
  static DEVICE_MEMBER float of(bf16 x) { return to_float(x); }
  static DEVICE_MEMBER float of(truth x) { return x.byte ? 1.f : 0.f; }
  template <class I> static DEVICE_MEMBER float of(I x) { return (float)x; }
};
template <> struct Cast<double> {
  static DEVICE_MEMBER double of(float x) { return x; }
};
template <> struct Cast<bf16> {
  static DEVICE_MEMBER bf16 of(bf16 x) { return x; }
  template <class T> static DEVICE_MEMBER bf16 of(T x) { return float_to_bf16(Cast<float>::of(x)); }
};
template <> struct Cast<truth> {
  static DEVICE_MEMBER truth make(bool b) {
    truth t;
    t.byte = b;
    return t;
  }
  static DEVICE_MEMBER truth of(bf16 x) { return make(to_float(x) != 0.f); }
  static DEVICE_MEMBER truth of(truth x) { return make(x.byte != 0); }
  template <class T> static DEVICE_MEMBER truth of(T x) { return make(x != 0); }
};
#define CAST_TO_INTEGER(To, lo, hi, least, most)                                                                    \
  template <> struct Cast<To> {                                                                                     \
    static DEVICE_MEMBER To of(float x) { return saturated<To>(x, lo, hi, least, most); }                           \
    static DEVICE_MEMBER To of(bf16 x) { return saturated<To>(to_float(x), lo, hi, least, most); }                  \
    static DEVICE_MEMBER To of(truth x) { return (To)(x.byte != 0); }                                               \
    template <class I> static DEVICE_MEMBER To of(I x) { return (To)x; }                                            \
  };
CAST_TO_INTEGER(int8_t, -128.f, 127.f, -128, 127)
CAST_TO_INTEGER(uint8_t, 0.f, 255.f, 0, 255)
CAST_TO_INTEGER(int, -2147483648.f, 2147483648.f, -2147483647 - 1, 2147483647)
CAST_TO_INTEGER(int64_t, -9223372036854775808.f, 9223372036854775808.f, -9223372036854775807LL - 1, 9223372036854775807LL)

#define CAST(from, From, to, To)                                                                                    \
  KERNEL(cast_##from##_##to, CAST_THREADS, (const From *x, To *y, int64_t n)) {                                     \
    for (int64_t i = first_index(); i < n; i += index_stride()) y[i] = Cast<To>::of(x[i]);                          \
  }
#define CASTS(from, From)                                                                                           \
  CAST(from, From, i8, int8_t)                                                                                      \
  CAST(from, From, u8, uint8_t) CAST(from, From, i32, int) CAST(from, From, i64, int64_t) CAST(from, From, bool, truth)
CASTS(f32, float)
CASTS(bf16, bf16)
CASTS(i8, int8_t)
CASTS(u8, uint8_t)
CASTS(i32, int)
CASTS(i64, int64_t)
CASTS(bool, truth)
#define CASTS_TO_FLOAT(from, From) CAST(from, From, f32, float) CAST(from, From, bf16, bf16)
CASTS_TO_FLOAT(i8, int8_t)
CASTS_TO_FLOAT(u8, uint8_t)
CASTS_TO_FLOAT(i32, int)
CASTS_TO_FLOAT(i64, int64_t)
CASTS_TO_FLOAT(bool, truth)

CAST(f32, float, f64, double)
CAST(f64, double, f32, float)

// f32 ↔ bf16 carries parameters and gradients every step: eight elements per thread, whole packs on both sides.
KERNEL(cast_f32_bf16, CAST_THREADS, (const float *x, bf16 *y, int64_t n)) {
  int64_t packs = n / 8;
  for (int64_t i = first_index(); i < packs; i += index_stride()) {
    Pack<float> a = load_pack(x + 8 * i), b = load_pack(x + 8 * i + 4);
    Pack<bf16> v;
#pragma unroll
    for (int k = 0; k < 4; k++) {
      v.v[k] = float_to_bf16(a.v[k]);
      v.v[4 + k] = float_to_bf16(b.v[k]);
    }
    store_pack(y + 8 * i, v);
  }
  int64_t i = packs * 8 + first_index();
  if (i < n) y[i] = float_to_bf16(x[i]);
}
KERNEL(cast_bf16_f32, CAST_THREADS, (const bf16 *x, float *y, int64_t n)) {
  int64_t packs = n / 8;
  for (int64_t i = first_index(); i < packs; i += index_stride()) {
    Pack<bf16> v = load_pack(x + 8 * i);
    Pack<float> a, b;
#pragma unroll
    for (int k = 0; k < 4; k++) {
      a.v[k] = to_float(v.v[k]);
      b.v[k] = to_float(v.v[4 + k]);
    }
    store_pack(y + 8 * i, a);
    store_pack(y + 8 * i + 4, b);
  }
  int64_t i = packs * 8 + first_index();
  if (i < n) y[i] = to_float(x[i]);
}

#define FLOAT_TEST(op, expression)                                                                                  \
  KERNEL(op##_f32, CAST_THREADS, (const float *in, uint8_t *y, int64_t n)) {                                        \
    for (int64_t i = first_index(); i < n; i += index_stride()) {                                                   \
      float x = in[i];                                                                                              \
      y[i] = expression;                                                                                            \
    }                                                                                                               \
  }                                                                                                                 \
  KERNEL(op##_bf16, CAST_THREADS, (const bf16 *in, uint8_t *y, int64_t n)) {                                        \
    for (int64_t i = first_index(); i < n; i += index_stride()) {                                                   \
      float x = to_float(in[i]);                                                                                    \
      y[i] = expression;                                                                                            \
    }                                                                                                               \
  }
FLOAT_TEST(isnan, x != x)
FLOAT_TEST(isinf, fabsf(x) == INFINITY)

KERNEL(not_bool, CAST_THREADS, (const uint8_t *x, uint8_t *y, int64_t n)) {
  for (int64_t i = first_index(); i < n; i += index_stride()) y[i] = x[i] ^ 1;
}
