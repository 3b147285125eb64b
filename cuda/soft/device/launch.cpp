// The kernel registry, and grids over OS threads.
#include "workers.h"
#include "runner.h"
#include <atomic>
#include <cstdlib>
#include <cstdio>
#include <map>
#include <mutex>

namespace simt {
static std::map<std::string, Kernel *> &registry() {
  static std::map<std::string, Kernel *> all;
  return all;
}
void enlist(Kernel *k) {
  if (!registry().emplace(k->name, k).second) {
    fprintf(stderr, "softcuda: kernel %s is defined twice\n", k->name);
    abort();
  }
}
const Kernel *find(const char *name) {
  auto i = registry().find(name);
  return i == registry().end() ? nullptr : i->second;
}

struct Job {
  const Kernel *kernel;
  void **params;
  dim3 grid, size;
  unsigned shared;
  uint64_t blocks;
  std::atomic<uint64_t> next{0};
  std::mutex mutex;
  std::string error;
};

static bool env_is(const char *name, const char *value) {
  const char *v = getenv(name);
  return v && !strcmp(v, value);
}

static void work(Job *j) {
  static const bool reverse = env_is("SOFTCUDA_ORDER", "reverse");
  Runner *r = this_runner();
  poison_shared();
  r->kernel = j->kernel, r->params = j->params, r->reverse = reverse, r->shared = j->shared;
  r->count = j->size.x * j->size.y * j->size.z;
  if (r->threads.size() < r->count) r->threads.resize(r->count), r->stacks.resize(r->count), r->copies.resize(r->count);
  for (unsigned i = 0; i < r->count; i++)
    r->threads[i].index = {i % j->size.x, i / j->size.x % j->size.y, i / j->size.x / j->size.y};
  // Exactly the bytes that were asked for, so that AddressSanitizer sees an access beyond them.
  char *dynamic = j->shared ? (char *)aligned_alloc(128, (j->shared + 127) / 128 * 128) : nullptr;
  r->block.size = j->size, r->block.grid = j->grid, r->block.dynamic = dynamic;
  for (uint64_t k; (k = j->next++) < j->blocks;) {
    if (dynamic) memset(dynamic, 0xFF, j->shared); // reads before writes give NaN, not zeros
    r->block.index = {(unsigned)(k % j->grid.x), (unsigned)(k / j->grid.x % j->grid.y), (unsigned)(k / j->grid.x / j->grid.y)};
    std::string e = r->run_block();
    if (e.empty()) continue;
    std::lock_guard<std::mutex> l(j->mutex);
    j->error = std::string("kernel ") + j->kernel->name + ", block (" + std::to_string(r->block.index.x) + "," + std::to_string(r->block.index.y) + "," + std::to_string(r->block.index.z) + "): " + e;
    j->next = j->blocks;
  }
  free(dynamic);
}

std::string launch(const Kernel *k, dim3 grid, dim3 size, unsigned shared, void **params) {
  Job j;
  j.kernel = k, j.params = params, j.grid = grid, j.size = size, j.shared = shared;
  j.blocks = (uint64_t)grid.x * grid.y * grid.z;
  over_threads(j.blocks, j.blocks * size.x * size.y * size.z, [&] { work(&j); });
  return j.error;
}
} // namespace simt
