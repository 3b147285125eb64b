// A SIMULATION of the part of NCCL that ringo uses, for the software CUDA device: processes of one host sum through shared
// memory, on the CPU. It is for tests; its times mean nothing. Meaning of calls: NVIDIA's NCCL manual, chapters on
// nonblocking communicators and fault tolerance. Stricter than NCCL: communicators must be nonblocking, no call may
// be made while one is in progress, every sum is in progress until it was asked about, ranges must lie in device memory,
// and ranks must agree on size and type of a sum. Limits: one host, at most 64 ranks, sums only, no f16; a process that was
// killed is not noticed, as within a host by NCCL, unless SOFTNCCL_NOTICE=1.
#include "room.h"
#include <climits>
#include <condition_variable>
#include <cstdio>
#include <cstring>
#include <deque>
#include <mutex>
#include <sys/random.h>
#include <thread>

#define API extern "C" __attribute__((visibility("default")))
extern "C" {
int cuLaunchHostFunc(void *stream, void (*f)(void *), void *data);
int cuStreamWaitValue32_v2(void *stream, uint64_t at, uint32_t v, unsigned flags);
int cuMemGetAddressRange_v2(uint64_t *base, size_t *n, uint64_t p);
int cuCtxGetCurrent(void **c);
}
using namespace softnccl;

struct ncclUniqueId { unsigned char internal[128]; };

namespace {
thread_local char last[256] = "";
int failed(int rc, const char *why) {
  snprintf(last, sizeof last, "softnccl: %s", why);
  return rc;
}

struct Comm;
struct Sum {
  Comm *comm;
  uint64_t in, out, count;
  int type;
};

// Comm is a communicator. A thread of its own meets the others and sums; a stream waits for it through `done`. It is never
// freed: work in streams may still point to it after an abort.
struct Comm {
  int rank, size;
  ncclUniqueId id;
  Room room;
  std::mutex mutex;
  std::condition_variable work;
  std::deque<Sum *> begun; // the stream has come to them
  std::atomic<bool> quit{false};
  std::atomic<int> state{IN_PROGRESS};
  std::atomic<bool> asked{true}; // about the last call
  std::atomic<uint32_t> done{0};
  uint32_t issued = 0;
  bool finishing = false;
  std::thread thread;

  void run() {
    state = room.join(id.internal, rank, size, &quit);
    for (;;) {
      Sum *s;
      {
        std::unique_lock<std::mutex> l(mutex);
        work.wait(l, [&] { return quit || !begun.empty(); });
        if (quit) break;
        s = begun.front();
        begun.pop_front();
      }
      int rc = state ? (int)state : room.sum((void *)s->in, (void *)s->out, s->count, s->type);
      delete s;
      if (rc && !quit) { // the stream hangs until the communicator is aborted, as on a GPU
        state = rc;
        continue;
      }
      if (!rc) done++;
    }
    room.leave();
    std::lock_guard<std::mutex> l(mutex);
    done = issued + (1u << 30); // lets go the streams that wait
  }
  void begin(Sum *s) {
    std::lock_guard<std::mutex> l(mutex);
    begun.push_back(s);
    work.notify_one();
  }
  void stop() {
    {
      std::lock_guard<std::mutex> l(mutex);
      quit = true;
      work.notify_one();
    }
    thread.join();
  }
};

bool on_device(uint64_t p, size_t n) {
  uint64_t base;
  size_t all;
  return !cuMemGetAddressRange_v2(&base, &all, p) && p + n <= base + all;
}
} // namespace

API int ncclGetVersion(int *v) { *v = 21403; return OK; } // the first that has nonblocking communicators
API int ncclGetUniqueId(ncclUniqueId *id) {
  return getrandom(id, sizeof *id, 0) == sizeof *id ? OK : failed(SYSTEM, "no random numbers");
}

API int ncclCommInitRankConfig(Comm **out, int size, ncclUniqueId id, int rank, const int *config) {
  void *ctx = nullptr;
  size_t bytes;
  memcpy(&bytes, config, sizeof bytes);
  if (bytes < 20 || (unsigned)config[2] != 0xcafebeef || config[3] < 21400) return failed(INVALID, "the configuration was not initialised");
  if (config[4] != 0) return failed(INVALID, "only nonblocking communicators are simulated");
  if (size < 1 || size > MOST || rank < 0 || rank >= size) return failed(INVALID, "no such rank");
  if (cuCtxGetCurrent(&ctx) || !ctx) return failed(CUDA_FAILED, "no device is current");
  Comm *c = new Comm;
  c->rank = rank, c->size = size, c->id = id;
  c->thread = std::thread([c] { c->run(); });
  *out = c;
  return IN_PROGRESS;
}

API int ncclCommGetAsyncError(Comm *c, int *state) {
  if (c->finishing && c->state == OK) {
    std::lock_guard<std::mutex> l(c->mutex);
    *state = c->done == c->issued ? OK : IN_PROGRESS;
    return OK;
  }
  *state = c->asked.exchange(true) ? (int)c->state : (int)IN_PROGRESS;
  return OK;
}

API int ncclAllReduce(uint64_t in, uint64_t out, size_t count, int type, int op, Comm *c, void *stream) {
  if (c->state == IN_PROGRESS || !c->asked) return failed(MISUSE, "a call on this communicator is still in progress");
  if (c->state) return failed(MISUSE, "the communicator has failed");
  size_t bytes = count * width(type);
  if (op || !width(type)) return failed(INVALID, "only sums of f32, f64, bf16 and i32 are simulated");
  if (!on_device(in, bytes) || !on_device(out, bytes)) return failed(INVALID, "the range does not lie in device memory");
  uint32_t turn;
  {
    std::lock_guard<std::mutex> l(c->mutex);
    turn = ++c->issued;
  }
  auto begin = [](void *s) { ((Sum *)s)->comm->begin((Sum *)s); };
  if (cuLaunchHostFunc(stream, begin, new Sum{c, in, out, count, type})) return failed(CUDA_FAILED, "the stream refused work");
  if (cuStreamWaitValue32_v2(stream, (uint64_t)&c->done, turn, 0)) return failed(CUDA_FAILED, "the stream refused to wait");
  c->asked = false;
  return IN_PROGRESS;
}

API int ncclCommFinalize(Comm *c) {
  if (c->state) return failed(MISUSE, "the communicator is not ready or has failed");
  c->finishing = true;
  return IN_PROGRESS;
}
API int ncclCommDestroy(Comm *c) { c->stop(); return OK; }
API int ncclCommAbort(Comm *c) { c->stop(); return OK; }

API const char *ncclGetErrorString(int rc) {
  const char *text[] = {"no error", "unhandled cuda error", "unhandled system error", "internal error", "invalid argument",
                        "invalid usage", "remote process exited or there was a network error", "NCCL operation in progress"};
  return rc >= 0 && rc <= IN_PROGRESS ? text[rc] : "unknown result code";
}
API const char *ncclGetLastError(Comm *) { return last; }
