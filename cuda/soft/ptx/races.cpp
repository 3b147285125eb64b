// Races: who touched which bytes of shared and global memory, and what orders two accesses.
//
// Shared memory: two accesses of different threads to the same bytes, one a write, must have a bar.sync between them, or, for lanes
// of one warp, a bar.warp.sync, whatever its mask. Shuffles order nothing. A block has a clock that each of these advances; a
// stamp is the clock at an access.
//
// Global memory: within one launch no block may read or write what another wrote, nor write what another read. Integer atomics are
// apart from that. A stamp is the number of a block over all launches.
#include "machine.h"

namespace ptx {
namespace {
const uint16_t kMany = 0xffff, kUnderWay = 0xffff; // readers of several warps; a copy that has not arrived

std::string thread_name(unsigned t) { return "thread " + std::to_string(t); }

// before reports whether an access of thread t at `stamp` comes before what thread me of warp w does now.
bool before(const Warp &w, unsigned t, unsigned me, uint32_t stamp) {
  return t == me || stamp < w.block->synced || (t / kLanes == w.index && stamp < w.synced);
}

void read_cell(Warp &w, Cell &c, unsigned lane, uint64_t offset) {
  Block &b = *w.block;
  unsigned me = w.index * kLanes + lane;
  if (c.wrote < b.started) fault(1u << lane, "reads shared memory at offset " + std::to_string(offset) + " that nobody wrote in this block");
  if (c.writer == kUnderWay) fault(1u << lane, "reads shared memory at offset " + std::to_string(offset) + " while cp.async is on its way there");
  if (!before(w, c.writer, me, c.wrote))
    fault(1u << lane, "reads shared memory at offset " + std::to_string(offset) + " that " + thread_name(c.writer) + " wrote, with no barrier between");
  if (c.read < b.synced) c.reader = (uint16_t)w.index, c.lanes = 1u << lane;
  else if (c.reader != w.index) c.reader = kMany;
  else c.lanes = c.read < w.synced ? 1u << lane : c.lanes | 1u << lane;
  c.read = b.clock;
}

void write_cell(Warp &w, Cell &c, unsigned lane, uint64_t offset) {
  Block &b = *w.block;
  unsigned me = w.index * kLanes + lane;
  if (c.wrote >= b.started) {
    if (c.writer == kUnderWay) fault(1u << lane, "writes shared memory at offset " + std::to_string(offset) + " while cp.async is on its way there");
    if (!before(w, c.writer, me, c.wrote))
      fault(1u << lane, "writes shared memory at offset " + std::to_string(offset) + " that " + thread_name(c.writer) + " wrote too, with no barrier between");
  }
  if (c.read >= b.synced) {
    bool others = c.reader != w.index || (c.read >= w.synced && (c.lanes & ~(1u << lane)));
    if (others)
      fault(1u << lane, "writes shared memory at offset " + std::to_string(offset) + " that " +
            (c.reader == kMany ? "threads of several warps" : c.reader != w.index ? "warp " + std::to_string(c.reader) : "other lanes of its warp") + " read, with no barrier between");
  }
  c.wrote = b.clock, c.writer = (uint16_t)me, c.read = 0;
}

// Granules are powers of two.
unsigned shift_of(unsigned granule) { return (unsigned)__builtin_ctz(granule); }

const uint32_t kStampMany = 1u << 31; // a reading stamp: several blocks read
} // namespace

void shared_access(Warp &w, unsigned lane, uint64_t offset, unsigned bytes, bool write) {
  unsigned shift = shift_of(w.block->launch->code->shared_granule);
  for (uint64_t k = offset >> shift; k <= (offset + bytes - 1) >> shift; k++) {
    Cell &c = w.block->cells[k];
    write ? write_cell(w, c, lane, k << shift) : read_cell(w, c, lane, k << shift);
  }
}

void start_copy(Warp &w, unsigned lane, uint64_t to, const char *from, unsigned bytes, unsigned taken) {
  shared_access(w, lane, to, bytes, true);
  unsigned g = w.block->launch->code->shared_granule;
  for (uint64_t k = to / g; k < (to + bytes + g - 1) / g; k++) w.block->cells[k].writer = kUnderWay;
  w.copies.push_back({lane, w.group[lane], (uint32_t)to, from, bytes, taken});
}

// finish_copies lets arrive, for each of the lanes, all groups of copies but the latest `left`.
void finish_copies(Warp &w, uint32_t lanes, unsigned left) {
  Block &b = *w.block;
  unsigned g = b.launch->code->shared_granule;
  size_t kept = 0;
  for (const Copy &c : w.copies) {
    if (!(lanes >> c.lane & 1) || c.group + left >= w.group[c.lane]) {
      w.copies[kept++] = c;
      continue;
    }
    memcpy(&b.shared[c.to], c.from, c.taken);
    memset(&b.shared[c.to + c.taken], 0, c.bytes - c.taken);
    for (uint64_t k = c.to / g; k < (c.to + c.bytes + g - 1) / g; k++) b.cells[k].wrote = b.clock, b.cells[k].writer = (uint16_t)(w.index * kLanes + c.lane);
  }
  w.copies.resize(kept);
}

// Blocks run on several OS threads, so that of two accesses at the very same time each may miss the other.
void global_access(Warp &w, const Range &r, unsigned lane, uint64_t address, unsigned bytes, bool write, Use use) {
  unsigned g = w.block->launch->code->global_granule;
  uint32_t me = w.block->stamp, first = w.block->launch->stamp;
  auto race = [&](uint64_t k, uint32_t other, const char *did) {
    fault(1u << lane, std::string(write ? "writes" : "reads") + " global memory at " + hex(r.from + k * g) + " that " +
          (other & kStampMany ? "several blocks" : other == me ? "its own block" : "block " + std::to_string(other - first)) + " " + did + " in the same launch");
  };
  unsigned shift = shift_of(g);
  for (uint64_t k = (address - r.from) >> shift; k <= (address - r.from + bytes - 1) >> shift; k++) {
    uint32_t *wrote = &r.stamps[2 * k], *read = wrote + 1;
    uint32_t writer = __atomic_load_n(wrote, __ATOMIC_RELAXED), reader = __atomic_load_n(read, __ATOMIC_RELAXED);
    bool was_read = (reader & ~kStampMany) >= first;
    if (writer >= first && (writer != me || use == kReadonly)) race(k, writer, "wrote");
    if (write && was_read && reader != me) race(k, reader, "read");
    if (use == kAtomic) continue;
    if (write) {
      if (writer != me) __atomic_store_n(wrote, me, __ATOMIC_RELAXED);
    } else if (!was_read) {
      __atomic_store_n(read, me, __ATOMIC_RELAXED);
    } else if (reader != me && !(reader & kStampMany)) {
      __atomic_store_n(read, reader | kStampMany, __ATOMIC_RELAXED);
    }
  }
}
} // namespace ptx
