// Comparisons and selections. Source: PTX ISA, "Comparison and Selection Instructions". Floats compare as false where one is a NaN;
// the names that end in u compare as true then.
#include "table.h"

namespace ptx {
namespace {

struct Eq { template <class T> bool operator()(T a, T b) { return a == b; } };
struct Ne { template <class T> bool operator()(T a, T b) { return (a < b) | (a > b); } };
struct Lt { template <class T> bool operator()(T a, T b) { return a < b; } };
struct Le { template <class T> bool operator()(T a, T b) { return a <= b; } };
struct Gt { template <class T> bool operator()(T a, T b) { return a > b; } };
struct Ge { template <class T> bool operator()(T a, T b) { return a >= b; } };
struct Nan { template <class T> bool operator()(T a, T b) { return (a != a) | (b != b); } };
template <class F> struct Or { template <class T> bool operator()(T a, T b) { return F()(a, b) | Nan()(a, b); } };
struct Num { template <class T> bool operator()(T a, T b) { return !Nan()(a, b); } };

enum Join { kAlone, kAnd, kOr, kXor };

// p = a ? b, joined with c
template <class T, class F, Join join> void compare(const Ins &i, Warp &w) {
  const T *a = reg<T>(w, i.o[1]), *b = reg<T>(w, i.o[2]);
  uint32_t bits = 0;
  for (unsigned l = 0; l < kLanes; l++) bits |= F()(a[l], b[l]) ? 1u << l : 0;
  if (join != kAlone) {
    uint32_t c = pred(w, i.o[3]);
    bits = join == kAnd ? bits & c : join == kOr ? bits | c : bits ^ c;
  }
  uint32_t &d = pred(w, i.o[0]);
  d = (d & ~w.mask) | (bits & w.mask);
}

template <class T> void select(const Ins &i, Warp &w) {
  const T *a = reg<T>(w, i.o[1]), *b = reg<T>(w, i.o[2]);
  uint32_t p = pred(w, i.o[3]);
  each(w, reg<T>(w, i.o[0]), [=](unsigned l) { return p >> l & 1 ? a[l] : b[l]; });
}

template <class T, class F> void one(Table &t, const std::string &test, const std::string &type, char c) {
  const char *two = c == 'h' ? "p=hh" : c == 's' ? "p=ss" : "p=ll", *three = c == 'h' ? "p=hhp" : c == 's' ? "p=ssp" : "p=llp";
  t["setp." + test + "." + type] = {compare<T, F, kAlone>, two};
  t["setp." + test + ".and." + type] = {compare<T, F, kAnd>, three};
  t["setp." + test + ".or." + type] = {compare<T, F, kOr>, three};
  t["setp." + test + ".xor." + type] = {compare<T, F, kXor>, three};
}
template <class T> void by_type(Table &t, const std::string &type, char c) {
  one<T, Eq>(t, "eq", type, c), one<T, Ne>(t, "ne", type, c);
  if (type[0] == 'b') return;
  one<T, Lt>(t, "lt", type, c), one<T, Le>(t, "le", type, c), one<T, Gt>(t, "gt", type, c), one<T, Ge>(t, "ge", type, c);
  if (type[0] != 'f') return;
  one<T, Or<Eq>>(t, "equ", type, c), one<T, Or<Ne>>(t, "neu", type, c), one<T, Or<Lt>>(t, "ltu", type, c);
  one<T, Or<Le>>(t, "leu", type, c), one<T, Or<Gt>>(t, "gtu", type, c), one<T, Or<Ge>>(t, "geu", type, c);
  one<T, Num>(t, "num", type, c), one<T, Nan>(t, "nan", type, c);
}
} // namespace

void add_compare(Table &t) {
  by_type<uint16_t>(t, "b16", 'h'), by_type<uint16_t>(t, "u16", 'h'), by_type<int16_t>(t, "s16", 'h');
  by_type<uint32_t>(t, "b32", 's'), by_type<uint32_t>(t, "u32", 's'), by_type<int32_t>(t, "s32", 's'), by_type<float>(t, "f32", 's');
  by_type<uint64_t>(t, "b64", 'l'), by_type<uint64_t>(t, "u64", 'l'), by_type<int64_t>(t, "s64", 'l'), by_type<double>(t, "f64", 'l');
  for (const char *kind : {"b", "u", "s", "f"}) {
    t[std::string("selp.") + kind + "16"] = {select<uint16_t>, "h=hhp"};
    t[std::string("selp.") + kind + "32"] = {select<uint32_t>, "s=ssp"};
    t[std::string("selp.") + kind + "64"] = {select<uint64_t>, "l=llp"};
  }
}
} // namespace ptx
