// Instructions of a whole warp, and atomics. Source: PTX ISA, shfl.sync, vote.sync, bar.warp.sync, atom.
#include "table.h"

namespace ptx {
namespace {

// shfl.sync d|p, a, b, c, members: lane l reads a of lane j. c holds the largest lane of a segment in bits 0 to 4 and, in bits 8 to
// 12, which bits of a lane's number tell its segment. Where j lies outside, p is false and d is the lane's own a.
enum Mode { kUp, kDown, kButterfly, kIndex };
template <Mode mode> void shuffle(const Ins &i, Warp &w) {
  const uint32_t *a = reg<uint32_t>(w, i.o[2]), *b = reg<uint32_t>(w, i.o[3]), *c = reg<uint32_t>(w, i.o[4]), *members = reg<uint32_t>(w, i.o[5]);
  uint32_t source[kLanes], inside = 0;
  memcpy(source, a, sizeof source);
  uint32_t *d = reg<uint32_t>(w, i.o[0]), &p = pred(w, i.o[1]);
  for (uint32_t m = w.mask; m; m &= m - 1) {
    unsigned l = first_lane(m), amount = b[l] & 31, clamp = c[l] & 31, segment = c[l] >> 8 & 31;
    unsigned last = (l & segment) | (clamp & ~segment), first = l & segment, j;
    bool ok;
    switch (mode) {
    case kUp: j = l - amount, ok = (int)j >= (int)last; break;
    case kDown: j = l + amount, ok = j <= last; break;
    case kButterfly: j = l ^ amount, ok = j <= last; break;
    default: j = first | (amount & ~segment), ok = j <= last;
    }
    if (!ok) j = l;
    if (!(members[l] >> j & 1)) fault(1u << l, "shuffles from lane " + std::to_string(j) + ", which is not in its mask " + hex(members[l]));
    if (!(w.mask >> j & 1)) fault(1u << l, "shuffles from lane " + std::to_string(j) + ", which has ended");
    d[l] = source[j];
    inside |= (uint32_t)ok << l;
  }
  p = (p & ~w.mask) | inside;
}

enum Vote { kAny, kEvery, kUniform, kBallot };
template <Vote vote> void ballot(const Ins &i, Warp &w) {
  uint32_t yes = pred(w, i.o[1]) & w.mask;
  if (vote == kBallot) {
    each(w, reg<uint32_t>(w, i.o[0]), [=](unsigned) { return yes; });
    return;
  }
  bool result = vote == kAny ? yes : vote == kEvery ? yes == w.mask : !yes || yes == w.mask;
  uint32_t &d = pred(w, i.o[0]);
  d = (d & ~w.mask) | (result ? w.mask : 0);
}

// bar.warp.sync: what the lanes did before comes before what they do now.
void warp_barrier(const Ins &, Warp &w) { w.synced = ++w.block->clock; }

template <uint8_t operand> void members(Ins &i) { i.kind = kSync, i.members = operand; }

// atom.global.add.u32 d, [a], b: lane by lane.
void atomic_add(const Ins &i, Warp &w) {
  resolve(i, w, i.o[1], i.wide, i.imm, i.space, 4, true);
  const uint32_t *b = reg<uint32_t>(w, i.o[2]);
  uint32_t *d = reg<uint32_t>(w, i.o[0]);
  for (uint32_t m = w.mask; m; m &= m - 1) {
    unsigned l = first_lane(m);
    d[l] = __atomic_fetch_add((uint32_t *)w.pointer[l], b[l], __ATOMIC_RELAXED);
  }
}
void global_atomic(Ins &i) { i.space = kGlobal, i.use = kAtomic, i.bytes = 4; }
} // namespace

void add_exchange(Table &t) {
  t["shfl.sync.up.b32"] = {shuffle<kUp>, "sp=ssss", members<5>};
  t["shfl.sync.down.b32"] = {shuffle<kDown>, "sp=ssss", members<5>};
  t["shfl.sync.bfly.b32"] = {shuffle<kButterfly>, "sp=ssss", members<5>};
  t["shfl.sync.idx.b32"] = {shuffle<kIndex>, "sp=ssss", members<5>};
  t["vote.sync.any.pred"] = {ballot<kAny>, "p=ps", members<2>};
  t["vote.sync.all.pred"] = {ballot<kEvery>, "p=ps", members<2>};
  t["vote.sync.uni.pred"] = {ballot<kUniform>, "p=ps", members<2>};
  t["vote.sync.ballot.b32"] = {ballot<kBallot>, "s=ps", members<2>};
  t["bar.warp.sync"] = {warp_barrier, "=s", members<0>};
  t["atom.global.add.u32"] = {atomic_add, "s=ms", global_atomic};
}
} // namespace ptx
