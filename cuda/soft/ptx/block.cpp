// A block: its warps take turns between barriers, first to last or last to first.
#include "machine.h"

namespace ptx {
namespace {

const uint32_t kClockLimit = 1u << 31;

// prepare lays out the memory of a block of this launch: registers of each warp, shared and local memory.
void prepare(Block &b) {
  const Launch &launch = *b.launch;
  const Code &code = *launch.code;
  unsigned warps = (launch.threads + kLanes - 1) / kLanes;
  size_t each = code.register_bytes;
  if (b.storage.size() < warps * each + 64) b.storage.resize(warps * each + 64);
  char *storage = (char *)(((uintptr_t)b.storage.data() + 63) & ~(uintptr_t)63);
  b.locals.resize(warps * kLanes * code.local_bytes + 1);
  uint64_t shared = code.shared_bytes;
  if (launch.shared) shared = (code.dynamic_at ? code.dynamic_at : shared) + launch.shared;
  b.shared.resize(shared);
  size_t cells = shared / code.shared_granule + 1;
  if (b.cells.size() < cells) b.cells.resize(cells);
  b.warps.resize(warps);
  for (unsigned k = 0; k < warps; k++) {
    Warp &w = b.warps[k];
    w.base[0] = storage + k * each, w.base[1] = const_cast<char *>(code.constants.data());
    w.local = b.locals.data() + k * kLanes * code.local_bytes;
    w.block = &b, w.index = k;
    unsigned n = launch.threads - k * kLanes;
    w.started = n < kLanes ? (1u << n) - 1 : kAll;
  }
}

// begin sets a warp to the kernel's first instruction. Registers start as NaN.
void begin(Warp &w) {
  Block &b = *w.block;
  const Launch &launch = *b.launch;
  memset(w.base[0], 0xFF, launch.code->register_bytes);
  for (unsigned l = 0; l < kLanes; l++) {
    unsigned t = w.index * kLanes + l;
    uint32_t values[kSpecials] = {t % launch.size[0], t / launch.size[0] % launch.size[1], t / launch.size[0] / launch.size[1], b.index[0], b.index[1], b.index[2],
                                  launch.size[0], launch.size[1], launch.size[2], launch.grid[0], launch.grid[1], launch.grid[2], l, w.index};
    for (unsigned k = 0; k < kSpecials; k++) reg<uint32_t>(w, k * kLanes * 4)[l] = values[k];
    w.group[l] = 0;
  }
  w.live = w.started, w.carry = 0, w.synced = 0, w.waits = false;
  w.copies.clear();
  w.frame.count = 1, w.frame.live = w.started;
  w.frame.groups[0] = {Group::Ready, 0, w.started, 0, false};
}
} // namespace

void run_block(Block &b, uint64_t n) {
  const Launch &launch = *b.launch;
  if (b.warps.empty()) prepare(b);
  b.index[0] = (unsigned)(n % launch.grid[0]), b.index[1] = (unsigned)(n / launch.grid[0] % launch.grid[1]), b.index[2] = (unsigned)(n / launch.grid[0] / launch.grid[1]);
  b.stamp = launch.stamp + (uint32_t)n;
  if (b.clock > kClockLimit) std::fill(b.cells.begin(), b.cells.end(), Cell{}), b.clock = 0;
  b.started = b.synced = ++b.clock;
  std::fill(b.shared.begin(), b.shared.end(), (char)0xFF);
  std::fill(b.locals.begin(), b.locals.end(), (char)0xFF);
  for (Warp &w : b.warps) begin(w);
  unsigned warps = (unsigned)b.warps.size();
  for (;;) {
    unsigned waiting = 0, ended = 0;
    for (unsigned k = 0; k < warps; k++) {
      Warp &w = b.warps[b.reverse ? warps - 1 - k : k];
      if (w.live && run(w)) waiting++;
    }
    if (!waiting) return;
    for (Warp &w : b.warps) ended += (unsigned)__builtin_popcount(w.started & ~w.live);
    if (ended) // CUDA leaves this undefined
      throw std::runtime_error("kernel " + launch.code->name + ", block (" + std::to_string(b.index[0]) + "," + std::to_string(b.index[1]) + "," + std::to_string(b.index[2]) +
                               "): barrier in divergent code: " + std::to_string(ended) + " of " + std::to_string(launch.threads) + " threads ended, the others wait for them in bar.sync");
    b.synced = ++b.clock;
  }
}
} // namespace ptx
