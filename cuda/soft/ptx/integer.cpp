// Integer arithmetic, logic, shifts and selections. Source: PTX ISA, "Integer Arithmetic Instructions", "Extended-Precision Integer
// Arithmetic Instructions", "Logic and Shift Instructions".
#include "table.h"
#include <type_traits>

namespace ptx {
namespace {

template <class T> struct Twice;
template <> struct Twice<uint16_t> { typedef uint32_t type; };
template <> struct Twice<int16_t> { typedef int32_t type; };
template <> struct Twice<uint32_t> { typedef uint64_t type; };
template <> struct Twice<int32_t> { typedef int64_t type; };
template <> struct Twice<uint64_t> { typedef unsigned __int128 type; };
template <> struct Twice<int64_t> { typedef __int128 type; };
template <class T> using twice = typename Twice<T>::type;
template <class T> using bits = std::make_unsigned_t<T>;

// F works on T; arithmetic that may overflow is done unsigned.
template <class T, class F> void unary(const Ins &i, Warp &w) {
  const T *a = reg<T>(w, i.o[1]);
  each(w, reg<T>(w, i.o[0]), [=](unsigned l) { return (T)F()(a[l]); });
}
template <class T, class F> void binary(const Ins &i, Warp &w) {
  const T *a = reg<T>(w, i.o[1]), *b = reg<T>(w, i.o[2]);
  each(w, reg<T>(w, i.o[0]), [=](unsigned l) { return (T)F()(a[l], b[l]); });
}
template <class T, class F> void ternary(const Ins &i, Warp &w) {
  const T *a = reg<T>(w, i.o[1]), *b = reg<T>(w, i.o[2]), *c = reg<T>(w, i.o[3]);
  each(w, reg<T>(w, i.o[0]), [=](unsigned l) { return (T)F()(a[l], b[l], c[l]); });
}

struct Add { template <class T> T operator()(T a, T b) { return (T)((bits<T>)a + (bits<T>)b); } };
struct Sub { template <class T> T operator()(T a, T b) { return (T)((bits<T>)a - (bits<T>)b); } };
struct MulLow { template <class T> T operator()(T a, T b) { return (T)((uint64_t)a * (uint64_t)b); } };
struct MulHigh { template <class T> T operator()(T a, T b) { return (T)((twice<T>)a * b >> 8 * sizeof(T)); } };
struct MadLow { template <class T> T operator()(T a, T b, T c) { return (T)((uint64_t)a * (uint64_t)b + (uint64_t)c); } };
struct MadHigh { template <class T> T operator()(T a, T b, T c) { return Add()(MulHigh()(a, b), c); } };
struct Min { template <class T> T operator()(T a, T b) { return a < b ? a : b; } };
struct Max { template <class T> T operator()(T a, T b) { return a > b ? a : b; } };
struct Neg { template <class T> T operator()(T a) { return (T)(0 - (bits<T>)a); } };
struct Abs { template <class T> T operator()(T a) { return a < 0 ? Neg()(a) : a; } };
struct And { template <class T> T operator()(T a, T b) { return a & b; } };
struct Or { template <class T> T operator()(T a, T b) { return a | b; } };
struct Xor { template <class T> T operator()(T a, T b) { return a ^ b; } };
struct Not { template <class T> T operator()(T a) { return (T)~a; } };

template <class T> void mul_wide(const Ins &i, Warp &w) {
  const T *a = reg<T>(w, i.o[1]), *b = reg<T>(w, i.o[2]);
  each(w, reg<twice<T>>(w, i.o[0]), [=](unsigned l) { return (twice<T>)a[l] * b[l]; });
}
template <class T> void mad_wide(const Ins &i, Warp &w) {
  const T *a = reg<T>(w, i.o[1]), *b = reg<T>(w, i.o[2]);
  const twice<T> *c = reg<twice<T>>(w, i.o[3]);
  each(w, reg<twice<T>>(w, i.o[0]), [=](unsigned l) { return (twice<T>)((bits<twice<T>>)((twice<T>)a[l] * b[l]) + (bits<twice<T>>)c[l]); });
}

// Quotients by 0 are whatever a GPU gives: here an error. The least number by −1 wraps around.
template <class T, bool remainder> void divide(const Ins &i, Warp &w) {
  const T *a = reg<T>(w, i.o[1]), *b = reg<T>(w, i.o[2]);
  T *d = reg<T>(w, i.o[0]);
  for (uint32_t m = w.mask; m; m &= m - 1) {
    unsigned l = first_lane(m);
    if (b[l] == 0) fault(1u << l, "divides by zero");
    if (std::is_signed<T>::value && b[l] == (T)-1) d[l] = remainder ? 0 : Neg()(a[l]);
    else d[l] = remainder ? a[l] % b[l] : a[l] / b[l];
  }
}

// Amounts beyond the width count as the width.
template <class T> void shift_left(const Ins &i, Warp &w) {
  const T *a = reg<T>(w, i.o[1]);
  const uint32_t *b = reg<uint32_t>(w, i.o[2]);
  each(w, reg<T>(w, i.o[0]), [=](unsigned l) { return b[l] < 8 * sizeof(T) ? (T)(a[l] << b[l]) : (T)0; });
}
template <class T> void shift_right(const Ins &i, Warp &w) {
  const unsigned most = 8 * sizeof(T) - 1;
  const T *a = reg<T>(w, i.o[1]);
  const uint32_t *b = reg<uint32_t>(w, i.o[2]);
  each(w, reg<T>(w, i.o[0]), [=](unsigned l) { return b[l] <= most ? (T)(a[l] >> b[l]) : std::is_signed<T>::value ? (T)(a[l] >> most) : (T)0; });
}

template <class F> void predicates(const Ins &i, Warp &w) {
  uint32_t &d = pred(w, i.o[0]);
  d = (d & ~w.mask) | (F()(pred(w, i.o[1]), pred(w, i.o[2])) & w.mask);
}
void not_pred(const Ins &i, Warp &w) {
  uint32_t &d = pred(w, i.o[0]);
  d = (d & ~w.mask) | (~pred(w, i.o[1]) & w.mask);
}

template <class T> void by_type(Table &t, const std::string &name, const char *one, const char *two, const char *three) {
  t["add." + name] = t["add" + std::string(name[0] == 'u' ? ".b" : ".") + name.substr(name[0] == 'u')] = {binary<T, Add>, two};
  t["sub." + name] = {binary<T, Sub>, two};
  t["mul.lo." + name] = {binary<T, MulLow>, two};
  t["mul.hi." + name] = {binary<T, MulHigh>, two};
  t["mad.lo." + name] = {ternary<T, MadLow>, three};
  t["mad.hi." + name] = {ternary<T, MadHigh>, three};
  t["div." + name] = {divide<T, false>, two};
  t["rem." + name] = {divide<T, true>, two};
  t["min." + name] = {binary<T, Min>, two};
  t["max." + name] = {binary<T, Max>, two};
  t["shr." + name] = {shift_right<T>, two[0] == 'h' ? "h=hs" : two[0] == 's' ? "s=ss" : "l=ls"};
  if (std::is_signed<T>::value) t["neg." + name] = {unary<T, Neg>, one}, t["abs." + name] = {unary<T, Abs>, one};
}
template <class T> void by_width(Table &t, const std::string &name, const char *one, const char *two) {
  t["and." + name] = {binary<T, And>, two};
  t["or." + name] = {binary<T, Or>, two};
  t["xor." + name] = {binary<T, Xor>, two};
  t["not." + name] = {unary<T, Not>, one};
  t["shl." + name] = {shift_left<T>, two[0] == 'h' ? "h=hs" : two[0] == 's' ? "s=ss" : "l=ls"};
  t["shr." + name] = {shift_right<T>, two[0] == 'h' ? "h=hs" : two[0] == 's' ? "s=ss" : "l=ls"};
}
} // namespace

void add_integer(Table &t) {
  by_type<uint16_t>(t, "u16", "h=h", "h=hh", "h=hhh"), by_type<int16_t>(t, "s16", "h=h", "h=hh", "h=hhh");
  by_type<uint32_t>(t, "u32", "s=s", "s=ss", "s=sss"), by_type<int32_t>(t, "s32", "s=s", "s=ss", "s=sss");
  by_type<uint64_t>(t, "u64", "l=l", "l=ll", "l=lll"), by_type<int64_t>(t, "s64", "l=l", "l=ll", "l=lll");
  by_width<uint16_t>(t, "b16", "h=h", "h=hh"), by_width<uint32_t>(t, "b32", "s=s", "s=ss"), by_width<uint64_t>(t, "b64", "l=l", "l=ll");
  t["mul.wide.u16"] = {mul_wide<uint16_t>, "s=hh"}, t["mul.wide.s16"] = {mul_wide<int16_t>, "s=hh"};
  t["mul.wide.u32"] = {mul_wide<uint32_t>, "l=ss"}, t["mul.wide.s32"] = {mul_wide<int32_t>, "l=ss"};
  t["mad.wide.u16"] = {mad_wide<uint16_t>, "s=hhs"}, t["mad.wide.s16"] = {mad_wide<int16_t>, "s=hhs"};
  t["mad.wide.u32"] = {mad_wide<uint32_t>, "l=ssl"}, t["mad.wide.s32"] = {mad_wide<int32_t>, "l=ssl"};
  t["and.pred"] = {predicates<And>, "p=pp"}, t["or.pred"] = {predicates<Or>, "p=pp"}, t["xor.pred"] = {predicates<Xor>, "p=pp"};
  t["not.pred"] = {not_pred, "p=p"};
}
} // namespace ptx
