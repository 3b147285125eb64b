// Comparison, logic, selection and powers, with broadcasting. The plain version is elementwise.go.
#include "broadcast.cuh"
#include "words.cuh"

#define COMPARE_THREADS 256

#define COMPARE_OP(Name, op)                                                                      \
  struct Name {                                                                                   \
    static DEVICE_MEMBER bool f(bf16 a, bf16 b) { return to_float(a) op to_float(b); }            \
    template <class T> static DEVICE_MEMBER bool f(T a, T b) { return a op b; }                   \
  };
COMPARE_OP(Eq, ==)
COMPARE_OP(Ne, !=)
COMPARE_OP(Lt, <)
COMPARE_OP(Le, <=)
COMPARE_OP(Gt, >)
COMPARE_OP(Ge, >=)

#define LOGIC_OP(Name, op) /* of Bool, which is 0 or 1 */                                         \
  struct Name {                                                                                   \
    static DEVICE_MEMBER uint8_t f(uint8_t a, uint8_t b) { return a op b; }                       \
  };
LOGIC_OP(And, &)
LOGIC_OP(Or, |)
LOGIC_OP(Xor, ^)

// pow: integers to integers stay exact, by squaring, modulo 2⁶⁴; a negative exponent gives the truncated fraction.
DEVICE int64_t pow_integer(int64_t a, int64_t b) {
  if (b < 0) return a == 1 ? 1 : a == -1 ? 1 - 2 * (b & 1) : 0;
  uint64_t y = 1, p = (uint64_t)a;
  for (; b > 0; b >>= 1) {
    if (b & 1) y *= p;
    p *= p;
  }
  return (int64_t)y;
}
DEVICE int saturate_integer(double v, int) {
  return v != v ? 0 : v <= -2147483648. ? -2147483647 - 1 : v >= 2147483647. ? 2147483647 : (int)v;
}
DEVICE int64_t saturate_integer(double v, int64_t) {
  return v != v ? 0 : v <= -9223372036854775808. ? -9223372036854775807LL - 1 : v >= 9223372036854775808. ? 9223372036854775807LL : (int64_t)v;
}
DEVICE float number(float x) { return x; }
DEVICE float number(bf16 x) { return to_float(x); }
DEVICE float number(int x) { return (float)x; }
DEVICE float number(int64_t x) { return (float)x; }

template <class A> struct Power { // integers
  template <class B> static DEVICE_MEMBER A of(A a, B b) { return (A)pow_integer(a, b); }
  static DEVICE_MEMBER A of(A a, float b) { return saturate_integer(pow((double)a, (double)b), A()); }
};
template <> struct Power<float> {
  template <class B> static DEVICE_MEMBER float of(float a, B b) { return powf(a, number(b)); }
};
template <> struct Power<bf16> {
  template <class B> static DEVICE_MEMBER bf16 of(bf16 a, B b) { return float_to_bf16(powf(to_float(a), number(b))); }
};

template <class T, class F> DEVICE void compare(const T *a, const T *b, uint8_t *y, const Broadcast<2> &p) {
  for (int64_t i = first_index(); i < p.n; i += index_stride()) {
    int64_t at[2];
    if (p.n <= 0x7fffffff)
      offsets<unsigned, 2>(p, i, at);
    else
      offsets<uint64_t, 2>(p, i, at);
    y[i] = F::f(a[at[0]], b[at[1]]);
  }
}

#define COMPARE(op, F, suffix, T)                                                                                  \
  KERNEL(op##_##suffix, COMPARE_THREADS, (const T *a, const T *b, uint8_t *y, Broadcast<2> p)) {                   \
    compare<T, F>(a, b, y, p);                                                                                     \
  }
#define COMPARES(op, F)                                                                                            \
  COMPARE(op, F, f32, float)                                                                                       \
  COMPARE(op, F, bf16, bf16) COMPARE(op, F, i32, int) COMPARE(op, F, i64, int64_t) COMPARE(op, F, i8, int8_t) COMPARE(op, F, u8, uint8_t)
COMPARES(eq, Eq)
COMPARES(ne, Ne)
COMPARES(lt, Lt)
COMPARES(le, Le)
COMPARES(gt, Gt)
COMPARES(ge, Ge)
COMPARE(and, And, u8, uint8_t)
COMPARE(or, Or, u8, uint8_t)
COMPARE(xor, Xor, u8, uint8_t)

#define POW(sa, A, sb, B)                                                                                          \
  KERNEL(pow_##sa##_##sb, COMPARE_THREADS, (const A *a, const B *b, A *y, Broadcast<2> p)) {                       \
    for (int64_t i = first_index(); i < p.n; i += index_stride()) {                                                \
      int64_t at[2];                                                                                               \
      offsets<uint64_t, 2>(p, i, at);                                                                              \
      y[i] = Power<A>::of(a[at[0]], b[at[1]]);                                                                     \
    }                                                                                                              \
  }
#define POWS(sa, A) POW(sa, A, f32, float) POW(sa, A, i32, int) POW(sa, A, i64, int64_t)
POWS(f32, float)
POWS(bf16, bf16)
POWS(i32, int)
POWS(i64, int64_t)
POW(bf16, bf16, bf16, bf16)
POW(f32, float, bf16, bf16)

#define WHERE(size)                                                                                                \
  KERNEL(where_##size, COMPARE_THREADS, (const uint8_t *cond, const Word<size>::type *a, const Word<size>::type *b, \
                                         Word<size>::type *y, Broadcast<3> p)) {                                   \
    for (int64_t i = first_index(); i < p.n; i += index_stride()) {                                                \
      int64_t at[3];                                                                                               \
      if (p.n <= 0x7fffffff)                                                                                       \
        offsets<unsigned, 3>(p, i, at);                                                                            \
      else                                                                                                         \
        offsets<uint64_t, 3>(p, i, at);                                                                            \
      y[i] = cond[at[0]] ? a[at[1]] : b[at[2]];                                                                    \
    }                                                                                                              \
  }
WHERE(1) WHERE(2) WHERE(4) WHERE(8)
