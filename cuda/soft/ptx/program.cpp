#include "program.h"
#include "../device/runner.h"
#include "../device/workers.h"
#include "decode.h"
#include <algorithm>
#include <atomic>
#include <mutex>
#include <sys/mman.h>

namespace ptx {

// Two stamps of four bytes for each byte, the least granule.
uint32_t *new_stamps(uint64_t bytes) {
  void *p = mmap(nullptr, 8 * bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED) throw Error("no address space for the stamps of " + std::to_string(bytes) + " bytes");
  return (uint32_t *)p;
}
void free_stamps(uint32_t *stamps, uint64_t bytes) {
  if (stamps) munmap(stamps, 8 * bytes);
}

Program::Program(const char *text) {
  loaded.module = parse_module(text);
  for (const Variable &v : loaded.module.variables) {
    if (v.space == "shared" || !v.bytes) continue;
    char *p = (char *)aligned_alloc(256, round_up(v.bytes, 256));
    memset(p, 0, v.bytes); // as PTX starts variables that say nothing
    std::copy(v.initial.begin(), v.initial.end(), p);
    loaded.globals[v.name] = (uint64_t)p;
    loaded.ranges.push_back({(uint64_t)p, v.bytes, new_stamps(v.bytes)});
  }
}

Program::~Program() {
  for (Range &r : loaded.ranges) free_stamps(r.stamps, r.bytes), free((void *)r.from);
}

bool Program::has(const std::string &kernel) const {
  auto i = loaded.module.functions.find(kernel);
  return i != loaded.module.functions.end() && i->second.entry;
}

const Code &Program::code(const std::string &kernel) {
  auto i = codes.find(kernel);
  if (i == codes.end()) i = codes.emplace(kernel, decode(loaded, kernel)).first;
  return i->second;
}

// Blocks of all launches are numbered on; where numbers run out, all that was stamped is forgotten.
static uint32_t number_blocks(uint64_t blocks, std::vector<Range> &memory) {
  static uint64_t next = 1;
  if (next + blocks >= 1u << 31) {
    for (Range &r : memory) madvise(r.stamps, 8 * r.bytes, MADV_DONTNEED);
    next = 1;
  }
  uint32_t first = (uint32_t)next;
  next += blocks;
  return first;
}

std::string Program::launch(const Code &code, const unsigned grid[3], const unsigned size[3], unsigned shared, const std::vector<char> &params, std::vector<Range> memory) {
  static const bool reverse = getenv("SOFTCUDA_ORDER") && !strcmp(getenv("SOFTCUDA_ORDER"), "reverse");
  memory.insert(memory.end(), loaded.ranges.begin(), loaded.ranges.end());
  std::sort(memory.begin(), memory.end(), [](const Range &a, const Range &b) { return a.from < b.from; });
  uint64_t blocks = (uint64_t)grid[0] * grid[1] * grid[2];
  if (blocks >= 1u << 31) return "kernel " + code.name + ": the PTX machine numbers at most 2^31 blocks";
  Launch l{};
  l.code = &code, l.shared = shared, l.params = &params, l.ranges = &memory, l.stamp = number_blocks(blocks, memory);
  std::copy(grid, grid + 3, l.grid), std::copy(size, size + 3, l.size);
  l.threads = size[0] * size[1] * size[2];
  std::atomic<uint64_t> next{0};
  std::mutex mutex;
  std::string error;
  simt::over_threads(blocks, blocks * l.threads, [&] {
    if (!simt::own.interpreter) simt::own.interpreter = new Block; // its memory serves again
    Block &block = *(Block *)simt::own.interpreter;
    block.launch = &l, block.last = nullptr, block.reverse = reverse;
    block.warps.clear();
    for (uint64_t k; (k = next++) < blocks;) {
      try {
        run_block(block, k);
      } catch (const std::runtime_error &e) {
        std::lock_guard<std::mutex> guard(mutex);
        if (error.empty()) error = e.what();
        next = blocks;
      }
    }
  });
  return error;
}
} // namespace ptx
