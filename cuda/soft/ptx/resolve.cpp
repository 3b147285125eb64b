// Addresses: from numbers in registers to bytes of this process, checked. An access must be aligned to its size and lie within
// what there is: one live allocation, the block's shared memory, the thread's local memory, the kernel's parameters.
#include "machine.h"
#include <algorithm>

namespace ptx {

void fault(uint32_t lanes, const std::string &what) { throw Fault{what, lanes}; }

std::string hex(uint64_t x) {
  char s[24];
  snprintf(s, sizeof s, "0x%llx", (unsigned long long)x);
  return s;
}

static std::string access(bool write, unsigned bytes, const char *space) {
  return std::string(write ? "writes " : "reads ") + std::to_string(bytes) + " bytes of " + space + " memory at ";
}

// range_of finds the allocation that holds the bytes, nullptr where none does.
const Range *range_of(Warp &w, uint64_t address, unsigned bytes) {
  Block &b = *w.block;
  const std::vector<Range> &all = *b.launch->ranges;
  if (!b.last || address - b.last->from >= b.last->bytes) {
    auto i = std::upper_bound(all.begin(), all.end(), address, [](uint64_t a, const Range &r) { return a < r.from; });
    if (i == all.begin()) return nullptr;
    b.last = &*--i;
  }
  return address - b.last->from + bytes <= b.last->bytes && address >= b.last->from ? b.last : nullptr;
}

// where_global says how an address lies to the allocation before it.
static std::string where_global(Warp &w, uint64_t address) {
  const Range *best = nullptr;
  for (const Range &r : *w.block->launch->ranges)
    if (r.from <= address) best = &r;
  if (!best) return hex(address) + ", in no allocation";
  return hex(address) + ", " + std::to_string(address - best->from) + " bytes into the nearest allocation, of " + std::to_string(best->bytes);
}

[[noreturn]] static void misaligned(unsigned l, uint64_t a, unsigned bytes, bool write, const char *space) {
  fault(1u << l, access(write, bytes, space) + hex(a) + ", which is no multiple of " + std::to_string(bytes));
}
// outside says that an access starts at an offset where a space of so many bytes does not hold it.
[[noreturn]] static void outside(unsigned l, uint64_t offset, uint64_t all, unsigned bytes, bool write, const char *space, const char *whose) {
  fault(1u << l, access(write, bytes, space) + "offset " + std::to_string((int64_t)offset) + ", " + whose + " has " + std::to_string(all));
}
static bool within(uint64_t offset, unsigned bytes, uint64_t all) { return offset < all && bytes <= all - offset; }

static void resolve_lane(const Ins &i, Warp &w, unsigned l, uint64_t a, Space space, unsigned bytes, bool write) {
  if (space == kGeneric) {
    space = kGlobal;
    if (a - kSharedWindow < kWindow) space = kShared, a -= kSharedWindow;
    else if (a - kLocalWindow < kWindow) space = kLocal, a -= kLocalWindow;
  }
  const Launch &launch = *w.block->launch;
  bool aligned = (a & (bytes - 1)) == 0;
  if (space == kGlobal) {
    if (!aligned) misaligned(l, a, bytes, write, "global");
    const Range *r = range_of(w, a, bytes);
    if (!r) fault(1u << l, access(write, bytes, "global") + where_global(w, a));
    global_access(w, *r, l, a, bytes, write, i.use);
    w.pointer[l] = (char *)a;
  } else if (space == kShared) {
    if (!aligned) misaligned(l, a, bytes, write, "shared");
    uint64_t offset = a - kSharedStart, all = w.block->shared.size();
    if (!within(offset, bytes, all)) outside(l, offset, all, bytes, write, "shared", "the block");
    shared_access(w, l, offset, bytes, write);
    w.pointer[l] = w.block->shared.data() + offset;
  } else if (space == kLocal) {
    if (!aligned) misaligned(l, a, bytes, write, "local");
    uint64_t offset = a - kLocalStart, all = launch.code->local_bytes;
    if (!within(offset, bytes, all)) outside(l, offset, all, bytes, write, "local", "a thread");
    w.pointer[l] = w.local + l * all + offset;
  } else {
    if (!aligned) misaligned(l, a, bytes, write, "parameter");
    if (write || !within(a, bytes, launch.params->size())) outside(l, a, launch.params->size(), bytes, write, "parameter", "the kernel");
    w.pointer[l] = const_cast<char *>(launch.params->data()) + a;
  }
}

void resolve(const Ins &i, Warp &w, Place place, bool wide, int64_t offset, Space space, unsigned bytes, bool write) {
  const uint64_t *a64 = reg<uint64_t>(w, place);
  const uint32_t *a32 = reg<uint32_t>(w, place);
  for (uint32_t m = w.mask; m; m &= m - 1) {
    unsigned l = first_lane(m); // a sum of 32 bits wraps around
    resolve_lane(i, w, l, wide ? a64[l] + (uint64_t)offset : (uint32_t)(a32[l] + (uint32_t)offset), space, bytes, write);
  }
}
} // namespace ptx
