// Floating-point arithmetic. Source: PTX ISA, "Floating Point Instructions". f32 and f64 are IEEE 754 with subnormal numbers; an
// instruction without a rounding mode rounds to nearest even. Approximations are as far off as the ISA lets them be.
#include "table.h"
#include <cmath>
#include <immintrin.h>
#include <limits>

namespace ptx {
namespace {

template <class T, class F> void unary(const Ins &i, Warp &w) {
  const T *a = reg<T>(w, i.o[1]);
  each(w, reg<T>(w, i.o[0]), [=](unsigned l) { return (T)F()(a[l]); });
}
template <class T, class F> void binary(const Ins &i, Warp &w) {
  const T *a = reg<T>(w, i.o[1]), *b = reg<T>(w, i.o[2]);
  each(w, reg<T>(w, i.o[0]), [=](unsigned l) { return (T)F()(a[l], b[l]); });
}
template <class T> void fused(const Ins &i, Warp &w) {
  const T *a = reg<T>(w, i.o[1]), *b = reg<T>(w, i.o[2]), *c = reg<T>(w, i.o[3]);
  each(w, reg<T>(w, i.o[0]), [=](unsigned l) { return std::fma(a[l], b[l], c[l]); });
}

// Rounded sets the direction for one instruction; f must read and write memory only.
template <unsigned mode, Step f> void rounded(const Ins &i, Warp &w) {
  unsigned old = _mm_getcsr();
  _mm_setcsr((old & ~(unsigned)_MM_ROUND_MASK) | mode);
  asm volatile("" ::: "memory");
  f(i, w);
  asm volatile("" ::: "memory");
  _mm_setcsr(old);
}

// The sign is a bit, of a NaN too.
template <class T> struct Word;
template <> struct Word<float> { typedef uint32_t type; };
template <> struct Word<double> { typedef uint64_t type; };
template <class T> void negate(const Ins &i, Warp &w) {
  typedef typename Word<T>::type U;
  const U *a = reg<U>(w, i.o[1]);
  each(w, reg<U>(w, i.o[0]), [=](unsigned l) { return a[l] ^ (U)1 << (8 * sizeof(U) - 1); });
}
template <class T> void absolute(const Ins &i, Warp &w) {
  typedef typename Word<T>::type U;
  const U *a = reg<U>(w, i.o[1]);
  each(w, reg<U>(w, i.o[0]), [=](unsigned l) { return a[l] & ~((U)1 << (8 * sizeof(U) - 1)); });
}

// copysign d, a, b: b with the sign of a.
template <class T> void copy_sign(const Ins &i, Warp &w) {
  typedef typename Word<T>::type U;
  const U sign = (U)1 << (8 * sizeof(U) - 1), *a = reg<U>(w, i.o[1]), *b = reg<U>(w, i.o[2]);
  each(w, reg<U>(w, i.o[0]), [=](unsigned l) { return (a[l] & sign) | (b[l] & ~sign); });
}

struct Add { template <class T> T operator()(T a, T b) { return a + b; } };
struct Sub { template <class T> T operator()(T a, T b) { return a - b; } };
struct Mul { template <class T> T operator()(T a, T b) { return a * b; } };
struct Div { template <class T> T operator()(T a, T b) { return a / b; } };
struct Reciprocal { template <class T> T operator()(T a) { return 1 / a; } };
struct Root { template <class T> T operator()(T a) { return std::sqrt(a); } };
// Of a number and a NaN, the number; −0 is less than +0.
struct Min { template <class T> T operator()(T a, T b) { return a != a ? b : b != b ? a : a < b ? a : b < a ? b : std::signbit(a) ? a : b; } };
struct Max { template <class T> T operator()(T a, T b) { return a != a ? b : b != b ? a : a > b ? a : b > a ? b : std::signbit(a) ? b : a; } };

float flushed(float x) { return std::fabs(x) < std::numeric_limits<float>::min() ? std::copysign(0.f, x) : x; }

// off moves y by as many units in the last place as the ISA allows, up or down by a bit of the input.
float off(float y, float input, int units) {
  uint32_t u = __builtin_bit_cast(uint32_t, y), v = __builtin_bit_cast(uint32_t, input), magnitude = u & 0x7fffffffu;
  if (magnitude < 0x00800000u + (uint32_t)units || magnitude + (uint32_t)units >= 0x7f800000u) return y;
  u += (uint32_t)((v * 2654435761u) >> 31 ? units : -units);
  return __builtin_bit_cast(float, u);
}

// 2^x: within 2 units in the last place; exact for whole numbers, so that weights of 1 stay 1.
template <bool flush> void exp2_approx(const Ins &i, Warp &w) {
  const float *a = reg<float>(w, i.o[1]);
  each(w, reg<float>(w, i.o[0]), [=](unsigned l) {
    float x = flush ? flushed(a[l]) : a[l], y = (float)std::exp2((double)x);
    if (x != std::floor(x)) y = off(y, x, 2);
    return flush ? flushed(y) : y;
  });
}
// 1/x: within one unit in the last place; exact for powers of two.
template <bool flush> void reciprocal_approx(const Ins &i, Warp &w) {
  const float *a = reg<float>(w, i.o[1]);
  each(w, reg<float>(w, i.o[0]), [=](unsigned l) {
    int exponent;
    float x = flush ? flushed(a[l]) : a[l], y = 1 / x;
    if (std::isfinite(y) && std::fabs(std::frexp(x, &exponent)) != 0.5f) y = off(y, x, 1);
    return flush ? flushed(y) : y;
  });
}
// The gross reciprocal of a double: from its upper word, of which 20 bits of mantissa count, to an upper word; subnormals are 0.
void reciprocal_gross(const Ins &i, Warp &w) {
  const uint64_t *a = reg<uint64_t>(w, i.o[1]);
  each(w, reg<uint64_t>(w, i.o[0]), [=](unsigned l) {
    double x = __builtin_bit_cast(double, a[l] & 0xffffffff00000000u);
    if (std::fabs(x) < std::numeric_limits<double>::min()) x = std::copysign(0., x);
    double y = 1 / x;
    if (std::fabs(y) < std::numeric_limits<double>::min()) y = std::copysign(0., y);
    return y != y ? 0x7ff8000000000000u : __builtin_bit_cast(uint64_t, y) & 0xffffffff00000000u;
  });
}

template <class T> void by_type(Table &t, const std::string &type, const char *one, const char *two, const char *three) {
  for (const char *mode : {".", ".rn."}) { // without a mode a compiler may fuse, which this one does not
    t["add" + (mode + type)] = {binary<T, Add>, two};
    t["sub" + (mode + type)] = {binary<T, Sub>, two};
    t["mul" + (mode + type)] = {binary<T, Mul>, two};
  }
  t["div.rn." + type] = {binary<T, Div>, two};
  t["rcp.rn." + type] = {unary<T, Reciprocal>, one};
  t["sqrt.rn." + type] = {unary<T, Root>, one};
  t["fma.rn." + type] = {fused<T>, three};
  t["min." + type] = {binary<T, Min>, two};
  t["max." + type] = {binary<T, Max>, two};
  t["neg." + type] = {negate<T>, one};
  t["abs." + type] = {absolute<T>, one};
  t["copysign." + type] = {copy_sign<T>, two};
}
} // namespace

void add_float(Table &t) {
  by_type<float>(t, "f32", "s=s", "s=ss", "s=sss");
  by_type<double>(t, "f64", "l=l", "l=ll", "l=lll");
  t["fma.rm.f32"] = {rounded<_MM_ROUND_DOWN, fused<float>>, "s=sss"};
  t["add.rz.f32"] = {rounded<_MM_ROUND_TOWARD_ZERO, binary<float, Add>>, "s=ss"};
  t["ex2.approx.f32"] = {exp2_approx<false>, "s=s"};
  t["ex2.approx.ftz.f32"] = {exp2_approx<true>, "s=s"};
  t["rcp.approx.f32"] = {reciprocal_approx<false>, "s=s"};
  t["rcp.approx.ftz.f32"] = {reciprocal_approx<true>, "s=s"};
  t["rcp.approx.ftz.f64"] = {reciprocal_gross, "l=l"};
}
} // namespace ptx
