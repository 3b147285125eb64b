// Asynchronous copies. Source: PTX ISA, cp.async, cp.async.commit_group, cp.async.wait_group. The bytes arrive when the thread
// that asked for them waits, and not before; until then nobody may touch them.
#include "table.h"

namespace ptx {
namespace {

// cp.async.cg.shared.global [to], [from], 16, taken: of 16 bytes the first `taken` are copied, the others are zeros.
void copy(const Ins &i, Warp &w) {
  const uint32_t *size = reg<uint32_t>(w, i.o[2]), *to32 = reg<uint32_t>(w, i.o[0]);
  const uint64_t *to64 = reg<uint64_t>(w, i.o[0]), *from = reg<uint64_t>(w, i.o[1]);
  unsigned bytes = i.bytes;
  for (uint32_t m = w.mask; m; m &= m - 1) {
    unsigned l = first_lane(m), taken = size[l];
    uint64_t to = (i.wide ? to64[l] : to32[l]) + (uint64_t)i.imm - kSharedStart, source = from[l] + (uint64_t)i.imm2;
    if (taken > bytes) fault(1u << l, "copies " + std::to_string(taken) + " bytes where cp.async takes " + std::to_string(bytes));
    if (to >= w.block->shared.size() || to + bytes > w.block->shared.size())
      fault(1u << l, "copies to shared memory at offset " + std::to_string((int64_t)to) + ", the block has " + std::to_string(w.block->shared.size()));
    if (to % bytes || source % bytes) fault(1u << l, "copies from " + hex(source) + " to shared memory at offset " + std::to_string(to) + ": one of them is no multiple of " + std::to_string(bytes));
    if (taken) {
      const Range *r = range_of(w, source, taken);
      if (!r) fault(1u << l, "copies " + std::to_string(taken) + " bytes from " + hex(source) + ", which no allocation holds");
      global_access(w, *r, l, source, taken, false, kPlainUse);
    }
    start_copy(w, l, to, (const char *)source, bytes, taken);
  }
}
void commit(const Ins &, Warp &w) {
  for (uint32_t m = w.mask; m; m &= m - 1) w.group[first_lane(m)]++;
}
void wait_group(const Ins &i, Warp &w) { finish_copies(w, w.mask, (unsigned)i.imm); }
void wait_all(const Ins &i, Warp &w) { commit(i, w), finish_copies(w, w.mask, 0); }

void sixteen(Ins &i) { i.bytes = 16; }
} // namespace

void add_async(Table &t) {
  t["cp.async.cg.shared.global"] = {copy, "=mmns", sixteen};
  t["cp.async.commit_group"] = {commit, "="};
  t["cp.async.wait_group"] = {wait_group, "=i"};
  t["cp.async.wait_all"] = {wait_all, "="};
}
} // namespace ptx
