// Conversions, and moves between registers and memory. Source: PTX ISA, cvt, mov, ld and st in "Data Movement and Conversion
// Instructions".
#include "table.h"
#include <cmath>
#include <limits>

namespace ptx {
namespace {

template <class D, class S> void convert(const Ins &i, Warp &w) {
  const S *a = reg<S>(w, i.o[1]);
  each(w, reg<D>(w, i.o[0]), [=](unsigned l) { return (D)a[l]; });
}

// A byte is the lowest of a 16-bit register.
template <class D, class S> void from_byte(const Ins &i, Warp &w) {
  const uint16_t *a = reg<uint16_t>(w, i.o[1]);
  each(w, reg<D>(w, i.o[0]), [=](unsigned l) { return (D)(S)a[l]; });
}

// Roundings to whole numbers.
struct Nearest { template <class T> T operator()(T x) { return std::nearbyint(x); } };
struct Zero { template <class T> T operator()(T x) { return std::trunc(x); } };
struct Down { template <class T> T operator()(T x) { return std::floor(x); } };
struct Up { template <class T> T operator()(T x) { return std::ceil(x); } };

// A float outside the range gives the nearest integer in it. A NaN gives 0 from f32 to up to 32 bits, else the integer whose highest
// bit alone is set.
template <class D, class S, class F> void to_integer(const Ins &i, Warp &w) {
  const S *a = reg<S>(w, i.o[1]);
  const S least = (S)std::numeric_limits<D>::min(), above = std::ldexp((S)1, std::numeric_limits<D>::digits);
  const D nan = sizeof(S) == 4 && sizeof(D) <= 4 ? (D)0 : (D)((std::make_unsigned_t<D>)1 << (8 * sizeof(D) - 1));
  each(w, reg<D>(w, i.o[0]), [=](unsigned l) {
    S x = F()(a[l]);
    return x != x ? nan : x < least ? std::numeric_limits<D>::min() : x >= above ? std::numeric_limits<D>::max() : (D)x;
  });
}
template <class T, class F> void to_whole(const Ins &i, Warp &w) {
  const T *a = reg<T>(w, i.o[1]);
  each(w, reg<T>(w, i.o[0]), [=](unsigned l) { return F()(a[l]); });
}
// cvt.sat: into [0, 1]; a NaN gives +0.
void saturate(const Ins &i, Warp &w) {
  const float *a = reg<float>(w, i.o[1]);
  each(w, reg<float>(w, i.o[0]), [=](unsigned l) { return a[l] > 0 ? a[l] < 1 ? a[l] : 1.f : 0.f; });
}

// bf16 is the upper half of an f32: to nearest, halves to the even one; NaNs become the one that PTX writes, 0x7fff.
inline uint16_t nearest_bf16(uint32_t u) {
  uint32_t lower = u & 0xffffu, upper = u >> 16;
  if ((u & 0x7fffffffu) > 0x7f800000u) return 0x7fff;
  return (uint16_t)(upper + (lower > 0x8000u || (lower == 0x8000u && (upper & 1))));
}
void to_bf16(const Ins &i, Warp &w) {
  const uint32_t *a = reg<uint32_t>(w, i.o[1]);
  each(w, reg<uint16_t>(w, i.o[0]), [=](unsigned l) { return nearest_bf16(a[l]); });
}
// Two at once: the first operand goes to the upper half.
void to_bf16x2(const Ins &i, Warp &w) {
  const uint32_t *a = reg<uint32_t>(w, i.o[1]), *b = reg<uint32_t>(w, i.o[2]);
  each(w, reg<uint32_t>(w, i.o[0]), [=](unsigned l) { return (uint32_t)nearest_bf16(a[l]) << 16 | nearest_bf16(b[l]); });
}
void from_bf16(const Ins &i, Warp &w) {
  const uint16_t *a = reg<uint16_t>(w, i.o[1]);
  each(w, reg<uint32_t>(w, i.o[0]), [=](unsigned l) { return (uint32_t)a[l] << 16; });
}

// What load and store do when resolve has found the pointers: count elements, one register each.
template <class T, class R> void load(const Ins &i, Warp &w) {
  resolve(i, w, i.o[i.count], i.wide, i.imm, i.space, sizeof(T) * i.count, false);
  for (unsigned k = 0; k < i.count; k++) {
    R *d = reg<R>(w, i.o[k]);
    for (uint32_t m = w.mask; m; m &= m - 1) {
      unsigned l = first_lane(m);
      T x;
      memcpy(&x, w.pointer[l] + k * sizeof x, sizeof x);
      d[l] = (R)x;
    }
  }
}
template <class T, class R> void store(const Ins &i, Warp &w) {
  resolve(i, w, i.o[0], i.wide, i.imm, i.space, sizeof(T) * i.count, true);
  for (unsigned k = 0; k < i.count; k++) {
    const R *s = reg<R>(w, i.o[1 + k]);
    for (uint32_t m = w.mask; m; m &= m - 1) {
      unsigned l = first_lane(m);
      T x = (T)s[l];
      memcpy(w.pointer[l] + k * sizeof x, &x, sizeof x);
    }
  }
}

template <class T> Step load_as(char width) { return width == 'h' ? load<T, uint16_t> : width == 's' ? load<T, uint32_t> : load<T, uint64_t>; }
template <class T> Step store_as(char width) { return width == 'h' ? store<T, uint16_t> : width == 's' ? store<T, uint32_t> : store<T, uint64_t>; }
template <class T> Step extend_as(char width) { return width == 'h' ? convert<uint16_t, T> : width == 's' ? convert<uint32_t, T> : convert<uint64_t, T>; }

void move_pred(const Ins &i, Warp &w) {
  uint32_t &d = pred(w, i.o[0]);
  d = (d & ~w.mask) | (pred(w, i.o[1]) & w.mask);
}

// mov between a register and its parts, the lowest first.
template <class W, class P> void split(const Ins &i, Warp &w) {
  const unsigned n = sizeof(W) / sizeof(P);
  W a[kLanes];
  memcpy(a, reg<W>(w, i.o[n]), sizeof a);
  for (unsigned k = 0; k < n; k++) each(w, reg<P>(w, i.o[k]), [&](unsigned l) { return (P)(a[l] >> 8 * sizeof(P) * k); });
}
template <class W, class P> void join(const Ins &i, Warp &w) {
  const unsigned n = sizeof(W) / sizeof(P);
  each(w, reg<W>(w, i.o[0]), [&](unsigned l) {
    W x = 0;
    for (unsigned k = 0; k < n; k++) x |= (W)reg<P>(w, i.o[1 + k])[l] << 8 * sizeof(P) * k;
    return x;
  });
}

template <class D, class F> void from_floats(Table &t, const std::string &mode, const std::string &type, char c) {
  t["cvt." + mode + "." + type + ".f32"] = {to_integer<D, float, F>, c == 's' ? "s=s" : "l=s"};
  t["cvt." + mode + "." + type + ".f64"] = {to_integer<D, double, F>, c == 's' ? "s=l" : "l=l"};
}
template <class F> void by_mode(Table &t, const std::string &mode) {
  from_floats<int32_t, F>(t, mode, "s32", 's'), from_floats<uint32_t, F>(t, mode, "u32", 's');
  from_floats<int64_t, F>(t, mode, "s64", 'l'), from_floats<uint64_t, F>(t, mode, "u64", 'l');
  t["cvt." + mode + ".f32.f32"] = {to_whole<float, F>, "s=s"};
  t["cvt." + mode + ".f64.f64"] = {to_whole<double, F>, "l=l"};
}
template <class S> void to_floats(Table &t, const std::string &type, char c) {
  t["cvt.rn.f32." + type] = {convert<float, S>, c == 'h' ? "s=h" : c == 's' ? "s=s" : "s=l"};
  t["cvt.rn.f64." + type] = {convert<double, S>, c == 'h' ? "l=h" : c == 's' ? "l=s" : "l=l"};
}
// Between integers: by the sign of the source; the result's sign does not matter.
template <class D, class S> void between(Table &t, const std::string &d, const std::string &s, char cd, char cs) {
  static std::vector<std::string> kept; // the shapes' text; tables are made once
  kept.reserve(256);
  kept.push_back({cd, '=', cs});
  for (char sign : {'u', 's'}) t["cvt." + (sign + d) + "." + s] = {convert<D, S>, kept.back().c_str()};
}
template <class S> void to_integers(Table &t, const std::string &s, char cs) {
  between<uint16_t, S>(t, "16", s, 'h', cs), between<uint32_t, S>(t, "32", s, 's', cs), between<uint64_t, S>(t, "64", s, 'l', cs);
}
} // namespace

Step load_step(const std::string &type, char width) {
  bool is_signed = type[0] == 's';
  switch (bytes_of(type)) {
  case 1: return is_signed ? load_as<int8_t>(width) : load_as<uint8_t>(width);
  case 2: return is_signed ? load_as<int16_t>(width) : load_as<uint16_t>(width);
  case 4: return is_signed ? load_as<int32_t>(width) : load_as<uint32_t>(width);
  default: return load_as<uint64_t>(width);
  }
}
Step store_step(unsigned bytes, char width) {
  return bytes == 1 ? store_as<uint8_t>(width) : bytes == 2 ? store_as<uint16_t>(width) : bytes == 4 ? store_as<uint32_t>(width) : store_as<uint64_t>(width);
}
Step move_step(char width) {
  return width == 'p' ? move_pred : width == 'h' ? convert<uint16_t, uint16_t> : width == 's' ? convert<uint32_t, uint32_t> : convert<uint64_t, uint64_t>;
}
Step split_step(char whole, char part) {
  return whole == 's' ? split<uint32_t, uint16_t> : part == 's' ? split<uint64_t, uint32_t> : split<uint64_t, uint16_t>;
}
Step join_step(char whole, char part) {
  return whole == 's' ? join<uint32_t, uint16_t> : part == 's' ? join<uint64_t, uint32_t> : join<uint64_t, uint16_t>;
}
Step extend_step(const std::string &type, char width) {
  bool is_signed = type[0] == 's';
  switch (bytes_of(type)) {
  case 2: return is_signed ? extend_as<int16_t>(width) : extend_as<uint16_t>(width);
  default: return is_signed ? extend_as<int32_t>(width) : extend_as<uint32_t>(width);
  }
}
Step truncate_step(char from, char to) {
  if (from == 's') return convert<uint16_t, uint32_t>;
  return to == 'h' ? convert<uint16_t, uint64_t> : convert<uint32_t, uint64_t>;
}

void add_convert(Table &t) {
  by_mode<Nearest>(t, "rni"), by_mode<Zero>(t, "rzi"), by_mode<Down>(t, "rmi"), by_mode<Up>(t, "rpi");
  to_floats<uint16_t>(t, "u16", 'h'), to_floats<int16_t>(t, "s16", 'h'), to_floats<uint32_t>(t, "u32", 's'), to_floats<int32_t>(t, "s32", 's');
  to_floats<uint64_t>(t, "u64", 'l'), to_floats<int64_t>(t, "s64", 'l');
  to_integers<uint16_t>(t, "u16", 'h'), to_integers<int16_t>(t, "s16", 'h'), to_integers<uint32_t>(t, "u32", 's');
  to_integers<int32_t>(t, "s32", 's'), to_integers<uint64_t>(t, "u64", 'l'), to_integers<int64_t>(t, "s64", 'l');
  for (const char *d : {"u", "s"}) {
    t[std::string("cvt.") + d + "16.s8"] = {from_byte<uint16_t, int8_t>, "h=h"}, t[std::string("cvt.") + d + "16.u8"] = {from_byte<uint16_t, uint8_t>, "h=h"};
    t[std::string("cvt.") + d + "32.s8"] = {from_byte<uint32_t, int8_t>, "s=h"}, t[std::string("cvt.") + d + "32.u8"] = {from_byte<uint32_t, uint8_t>, "s=h"};
    t[std::string("cvt.") + d + "64.s8"] = {from_byte<uint64_t, int8_t>, "l=h"}, t[std::string("cvt.") + d + "64.u8"] = {from_byte<uint64_t, uint8_t>, "l=h"};
  }
  t["cvt.f64.f32"] = {convert<double, float>, "l=s"};
  t["cvt.rn.f32.f64"] = {convert<float, double>, "s=l"};
  t["cvt.sat.f32.f32"] = {saturate, "s=s"};
  t["cvt.rn.bf16.f32"] = {to_bf16, "h=s"};
  t["cvt.rn.bf16x2.f32"] = {to_bf16x2, "s=ss"};
  t["cvt.f32.bf16"] = {from_bf16, "s=h"};
}
} // namespace ptx
