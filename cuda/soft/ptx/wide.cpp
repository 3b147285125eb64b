// Sums with carry, bit fields and products of bytes. Source: PTX ISA, "Extended-Precision Integer Arithmetic Instructions", and
// bfi, bfe, clz, popc, brev, prmt, lop3, shf, dp4a in "Integer Arithmetic" and "Logic and Shift Instructions".
#include "table.h"

namespace ptx {
namespace {

// d = a + b + carry; a subtraction adds the complement, and its carry is a borrow.
enum Carry { kNone = 0, kIn = 1, kOut = 2 };
template <int mode, bool subtract> void carry_sum(const Ins &i, Warp &w) {
  const uint32_t *a = reg<uint32_t>(w, i.o[1]), *b = reg<uint32_t>(w, i.o[2]);
  uint32_t *d = reg<uint32_t>(w, i.o[0]);
  for (uint32_t m = w.mask; m; m &= m - 1) {
    unsigned l = first_lane(m);
    uint64_t in = mode & kIn ? w.carry >> l & 1 : 0;
    uint64_t sum = subtract ? (uint64_t)a[l] - b[l] - in : (uint64_t)a[l] + b[l] + in;
    if (mode & kOut) w.carry = (w.carry & ~(1u << l)) | (uint32_t)(sum >> 32 & 1) << l;
    d[l] = (uint32_t)sum;
  }
}

// d = the lower or upper half of a · b, + c, + carry.
template <int mode, bool high> void carry_mad(const Ins &i, Warp &w) {
  const uint32_t *a = reg<uint32_t>(w, i.o[1]), *b = reg<uint32_t>(w, i.o[2]), *c = reg<uint32_t>(w, i.o[3]);
  uint32_t *d = reg<uint32_t>(w, i.o[0]);
  for (uint32_t m = w.mask; m; m &= m - 1) {
    unsigned l = first_lane(m);
    uint64_t product = (uint64_t)a[l] * b[l], half = high ? product >> 32 : product & 0xffffffffu;
    uint64_t sum = half + c[l] + (mode & kIn ? w.carry >> l & 1 : 0);
    if (mode & kOut) w.carry = (w.carry & ~(1u << l)) | (uint32_t)(sum >> 32 & 1) << l;
    d[l] = (uint32_t)sum;
  }
}

// bfi: f = b with the lowest `length` bits of a from position on; both count up to 255.
template <class T> void insert_field(const Ins &i, Warp &w) {
  const T *a = reg<T>(w, i.o[1]), *b = reg<T>(w, i.o[2]);
  const uint32_t *position = reg<uint32_t>(w, i.o[3]), *length = reg<uint32_t>(w, i.o[4]);
  each(w, reg<T>(w, i.o[0]), [=](unsigned l) {
    unsigned p = position[l] & 255, n = length[l] & 255, all = 8 * sizeof(T);
    if (p >= all || !n) return b[l];
    T field = (n >= all ? (T)~(T)0 : ((T)1 << n) - 1) << p;
    return (T)((b[l] & ~field) | (a[l] << p & field));
  });
}

template <class T> void leading_zeros(const Ins &i, Warp &w) {
  const T *a = reg<T>(w, i.o[1]);
  each(w, reg<uint32_t>(w, i.o[0]), [=](unsigned l) { return a[l] ? (uint32_t)__builtin_clzll(a[l]) - (64 - 8 * (uint32_t)sizeof(T)) : 8 * (uint32_t)sizeof(T); });
}
template <class T> void count_ones(const Ins &i, Warp &w) {
  const T *a = reg<T>(w, i.o[1]);
  each(w, reg<uint32_t>(w, i.o[0]), [=](unsigned l) { return (uint32_t)__builtin_popcountll(a[l]); });
}

// prmt, default mode: byte k of d is the byte of {b, a} that nibble k of c names, or its sign where the nibble's bit 3 is set.
void permute(const Ins &i, Warp &w) {
  const uint32_t *a = reg<uint32_t>(w, i.o[1]), *b = reg<uint32_t>(w, i.o[2]), *c = reg<uint32_t>(w, i.o[3]);
  each(w, reg<uint32_t>(w, i.o[0]), [=](unsigned l) {
    uint64_t all = (uint64_t)b[l] << 32 | a[l];
    uint32_t d = 0;
    for (unsigned k = 0; k < 4; k++) {
      unsigned n = c[l] >> 4 * k & 15, byte = all >> 8 * (n & 7) & 255;
      d |= (n & 8 ? (byte & 128 ? 255u : 0u) : byte) << 8 * k;
    }
    return d;
  });
}

// lop3: bit k of d is bit 4a + 2b + c of the table.
void logic3(const Ins &i, Warp &w) {
  const uint32_t *a = reg<uint32_t>(w, i.o[1]), *b = reg<uint32_t>(w, i.o[2]), *c = reg<uint32_t>(w, i.o[3]);
  unsigned lut = (unsigned)i.imm;
  each(w, reg<uint32_t>(w, i.o[0]), [=](unsigned l) {
    uint32_t d = 0;
    for (unsigned k = 0; k < 8; k++)
      if (lut >> k & 1) d |= (k & 4 ? a[l] : ~a[l]) & (k & 2 ? b[l] : ~b[l]) & (k & 1 ? c[l] : ~c[l]);
    return d;
  });
}

// shf.wrap: {b, a} is shifted by c mod 32; left gives the upper word, right the lower.
template <bool left> void funnel(const Ins &i, Warp &w) {
  const uint32_t *a = reg<uint32_t>(w, i.o[1]), *b = reg<uint32_t>(w, i.o[2]), *c = reg<uint32_t>(w, i.o[3]);
  each(w, reg<uint32_t>(w, i.o[0]), [=](unsigned l) {
    uint64_t all = (uint64_t)b[l] << 32 | a[l];
    return (uint32_t)(left ? all << (c[l] & 31) >> 32 : all >> (c[l] & 31));
  });
}

// dp4a.s32.s32: c + the sum over four signed bytes.
void dot_bytes(const Ins &i, Warp &w) {
  const uint32_t *a = reg<uint32_t>(w, i.o[1]), *b = reg<uint32_t>(w, i.o[2]), *c = reg<uint32_t>(w, i.o[3]);
  each(w, reg<uint32_t>(w, i.o[0]), [=](unsigned l) {
    uint32_t sum = c[l];
    for (unsigned k = 0; k < 32; k += 8) sum += (uint32_t)((int8_t)(a[l] >> k) * (int8_t)(b[l] >> k));
    return sum;
  });
}
} // namespace

void add_wide(Table &t) {
  t["add.cc.u32"] = {carry_sum<kOut, false>, "s=ss"}, t["addc.u32"] = {carry_sum<kIn, false>, "s=ss"};
  t["addc.cc.u32"] = {carry_sum<kIn | kOut, false>, "s=ss"};
  t["sub.cc.u32"] = {carry_sum<kOut, true>, "s=ss"}, t["subc.u32"] = {carry_sum<kIn, true>, "s=ss"};
  t["subc.cc.u32"] = {carry_sum<kIn | kOut, true>, "s=ss"};
  t["mad.lo.cc.u32"] = {carry_mad<kOut, false>, "s=sss"}, t["mad.hi.cc.u32"] = {carry_mad<kOut, true>, "s=sss"};
  t["madc.lo.u32"] = {carry_mad<kIn, false>, "s=sss"}, t["madc.hi.u32"] = {carry_mad<kIn, true>, "s=sss"};
  t["madc.lo.cc.u32"] = {carry_mad<kIn | kOut, false>, "s=sss"}, t["madc.hi.cc.u32"] = {carry_mad<kIn | kOut, true>, "s=sss"};
  t["bfi.b32"] = {insert_field<uint32_t>, "s=ssss"}, t["bfi.b64"] = {insert_field<uint64_t>, "l=llss"};
  t["clz.b32"] = {leading_zeros<uint32_t>, "s=s"}, t["clz.b64"] = {leading_zeros<uint64_t>, "s=l"};
  t["popc.b32"] = {count_ones<uint32_t>, "s=s"}, t["popc.b64"] = {count_ones<uint64_t>, "s=l"};
  t["prmt.b32"] = {permute, "s=sss"};
  t["lop3.b32"] = {logic3, "s=sssi"};
  t["shf.l.wrap.b32"] = {funnel<true>, "s=sss"}, t["shf.r.wrap.b32"] = {funnel<false>, "s=sss"};
  t["dp4a.s32.s32"] = {dot_bytes, "s=sss"};
}
} // namespace ptx
