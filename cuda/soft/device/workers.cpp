#include "workers.h"
#include <condition_variable>
#include <cstdlib>
#include <mutex>
#include <thread>

namespace simt {
namespace {
struct Pool {
  std::mutex mutex;
  std::condition_variable go, finished;
  const std::function<void()> *job = nullptr;
  unsigned generation = 0, busy = 0, threads;
  Pool() {
    const char *e = getenv("SOFTCUDA_THREADS");
    threads = e ? atoi(e) : std::thread::hardware_concurrency();
    for (unsigned i = 1; i < threads; i++) std::thread([this] { serve(); }).detach();
  }
  void serve() {
    unsigned seen = 0;
    for (;;) {
      const std::function<void()> *j;
      {
        std::unique_lock<std::mutex> l(mutex);
        go.wait(l, [&] { return generation != seen; });
        seen = generation, j = job;
      }
      (*j)();
      std::lock_guard<std::mutex> l(mutex);
      if (--busy == 0) finished.notify_one();
    }
  }
  void run(const std::function<void()> &work) {
    {
      std::lock_guard<std::mutex> l(mutex);
      job = &work, generation++, busy = threads - 1;
    }
    go.notify_all();
    work();
    std::unique_lock<std::mutex> l(mutex);
    finished.wait(l, [&] { return busy == 0; });
  }
};
} // namespace

void over_threads(uint64_t blocks, uint64_t threads, const std::function<void()> &work) {
  static Pool *pool = new Pool;
  static std::mutex one; // launches of several streams take turns
  std::lock_guard<std::mutex> l(one);
  if (pool->threads < 2 || threads < 2048 || blocks == 1) work();
  else pool->run(work);
}
} // namespace simt
