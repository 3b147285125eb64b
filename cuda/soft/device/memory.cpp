// Device memory, page-locked host memory and copies.
#include "../ptx/program.h"
#include "driver.h"
#include <cstdlib>
#include <fcntl.h>
#include <map>
#include <sys/mman.h>
#include <unistd.h>

namespace softcuda {
struct Block {
  size_t bytes;
  int device;
  int file; // behind memory that was exported, else -1
  bool imported;
  uint32_t *stamps; // of the PTX machine, from the first launch there on
};
static std::map<Pointer, Block> blocks;
static std::map<uintptr_t, size_t> host;
static std::map<int, size_t> used;

// SOFTCUDA_MEMORY is a device's memory in MiB, 4096 where it is not set.
static size_t total() {
  const char *e = getenv("SOFTCUDA_MEMORY");
  return (e ? (size_t)atol(e) : 4096) << 20;
}

bool on_device(Pointer p, size_t n) {
  auto i = blocks.upper_bound(p);
  if (i == blocks.begin()) return false;
  --i;
  return p + n <= i->first + i->second.bytes;
}

std::vector<ptx::Range> ranges() {
  std::vector<ptx::Range> out;
  for (auto &b : blocks) {
    if (!b.second.stamps) b.second.stamps = ptx::new_stamps(b.second.bytes);
    out.push_back({b.first, b.second.bytes, b.second.stamps});
  }
  return out;
}

bool pinned(const void *p, size_t n) {
  auto i = host.upper_bound((uintptr_t)p);
  if (i == host.begin()) return false;
  --i;
  return (uintptr_t)p + n <= i->first + i->second;
}

// take and give get whole pages, which another process can be shown later; AddressSanitizer watches malloc's memory only.
#ifdef __SANITIZE_ADDRESS__
static void *take(size_t n) { void *p; return posix_memalign(&p, 256, n) ? nullptr : p; }
static void give(Pointer p, size_t) { free((void *)p); }
#else
static void *take(size_t n) {
  void *p = mmap(nullptr, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return p == MAP_FAILED ? nullptr : p;
}
static void give(Pointer p, size_t n) { munmap((void *)p, n); }
#endif

// allocate fills with 0xFF: what is read before it is written is NaN, not zero.
static Result allocate(Pointer *p, size_t n) {
  int device = current()->device;
  if (!n) return INVALID;
  if (used[device] + n > total()) return NO_MEMORY;
  void *mem = take(n);
  if (!mem) return NO_MEMORY;
  memset(mem, 0xFF, n);
  blocks[(Pointer)mem] = {n, device, -1, false, nullptr};
  used[device] += n;
  *p = (Pointer)mem;
  return OK;
}

static Result release(Pointer p) {
  auto i = blocks.find(p);
  if (i == blocks.end() || i->second.imported) return INVALID;
  used[i->second.device] -= i->second.bytes;
  if (i->second.file >= 0) close(i->second.file);
  ptx::free_stamps(i->second.stamps, i->second.bytes);
  give(p, i->second.bytes);
  blocks.erase(i);
  return OK;
}

// Ticket is what an IPC handle holds: whose allocation, and the file behind it.
struct Ticket {
  int pid, file, device;
  size_t bytes;
};
struct IpcHandle {
  Ticket ticket;
  char unused[64 - sizeof(Ticket)];
};

// share puts a file behind an allocation that was its process's own. Nothing runs on it meanwhile.
static Result share(Pointer p, Block &b) {
#ifdef __SANITIZE_ADDRESS__
  return NOT_SUPPORTED;
#endif
  int f = memfd_create("softcuda", MFD_CLOEXEC);
  if (f < 0) return NO_MEMORY;
  for (size_t at = 0; at < b.bytes;) {
    ssize_t n = pwrite(f, (char *)p + at, b.bytes - at, at);
    if (n <= 0) return close(f), NO_MEMORY;
    at += n;
  }
  if (mmap((void *)p, b.bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, f, 0) == MAP_FAILED) return close(f), NO_MEMORY;
  b.file = f;
  return OK;
}

// A copy or fill that may wait in a stream; everything was checked.
static Result later(Handle s, Work w) { return enqueue(stream_of(s), std::move(w)); }

// The synchronous calls run on the null stream, which waits for every blocking stream, and wait for it.
static Result at_once(Work w) {
  if (capturing()) return CAPTURE_UNSUPPORTED;
  if (Result r = drain_device(current()->device, false)) return r;
  Stream *s = null_stream(current()->device);
  Result r = enqueue(s, std::move(w));
  return r ? r : drain(s);
}

static Work copy(void *dst, const void *src, size_t n) {
  return [=] {
    memmove(dst, src, n);
    return (Result)OK;
  };
}

template <class T> static Work fill(Pointer p, T v, size_t n) {
  return [=] {
    for (size_t i = 0; i < n; i++) ((T *)p)[i] = v;
    return (Result)OK;
  };
}
} // namespace softcuda
using namespace softcuda;

API cuDeviceTotalMem_v2(size_t *n, int) { *n = total(); return OK; }
API cuMemGetInfo_v2(size_t *available, size_t *all) {
  ENTER;
  *all = total(), *available = total() - used[current()->device];
  return OK;
}
API cuMemAlloc_v2(Pointer *p, size_t n) { ENTER; return capturing() ? CAPTURE_UNSUPPORTED : allocate(p, n); }
API cuMemFree_v2(Pointer p) { // waits for the device first
  ENTER;
  if (capturing()) return CAPTURE_UNSUPPORTED;
  Result r = drain_device(current()->device, true);
  return r ? r : release(p);
}
API cuMemAllocAsync(Pointer *p, size_t n, Handle) { ENTER; return allocate(p, n); }
API cuMemFreeAsync(Pointer p, Handle s) { ENTER; return later(s, [p] { return release(p); }); }
API cuMemHostAlloc(void **p, size_t n, unsigned) {
  ENTER;
  if (posix_memalign(p, 256, n)) return NO_MEMORY;
  host[(uintptr_t)*p] = n;
  return OK;
}
API cuMemFreeHost(void *p) {
  ENTER;
  if (!host.erase((uintptr_t)p)) return INVALID;
  drain_device(current()->device, true);
  free(p);
  return OK;
}
API cuIpcGetMemHandle(IpcHandle *h, Pointer p) { // p is what an allocation returned
  ENTER;
  auto i = blocks.find(p);
  if (i == blocks.end() || i->second.imported) return INVALID;
  Block &b = i->second;
  Result r = OK;
  if (b.file < 0 && !(r = drain_device(b.device, true))) r = share(p, b);
  h->ticket = {getpid(), b.file, b.device, b.bytes};
  return r;
}
API cuIpcOpenMemHandle_v2(Pointer *p, IpcHandle h, unsigned) { // another process's, while it has it
  ENTER;
  Ticket t = h.ticket;
  if (t.pid == getpid()) return NO_CONTEXT; // CUDA's own answer to that, under its other name
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/fd/%d", t.pid, t.file);
  int f = open(path, O_RDWR | O_CLOEXEC);
  if (f < 0) return INVALID;
  void *mem = mmap(nullptr, t.bytes, PROT_READ | PROT_WRITE, MAP_SHARED, f, 0);
  close(f);
  if (mem == MAP_FAILED) return NO_MEMORY;
  blocks[*p = (Pointer)mem] = {t.bytes, t.device, -1, true, nullptr};
  return OK;
}
API cuIpcCloseMemHandle(Pointer p) {
  ENTER;
  auto i = blocks.find(p);
  if (i == blocks.end() || !i->second.imported) return INVALID;
  Result r = drain_device(current()->device, true);
  ptx::free_stamps(i->second.stamps, i->second.bytes);
  munmap((void *)p, i->second.bytes);
  blocks.erase(i);
  return r;
}
API cuMemGetAddressRange_v2(Pointer *base, size_t *n, Pointer p) {
  ENTER;
  auto i = blocks.upper_bound(p);
  if (i == blocks.begin() || !on_device(p, 0)) return INVALID;
  --i;
  *base = i->first, *n = i->second.bytes;
  return OK;
}

API cuMemcpyHtoD_v2(Pointer d, const void *s, size_t n) {
  ENTER;
  return on_device(d, n) ? at_once(copy((void *)d, s, n)) : INVALID;
}
API cuMemcpyDtoH_v2(void *d, Pointer s, size_t n) {
  ENTER;
  return on_device(s, n) ? at_once(copy(d, (void *)s, n)) : INVALID;
}
API cuMemcpyDtoD_v2(Pointer d, Pointer s, size_t n) {
  ENTER;
  return on_device(d, n) && on_device(s, n) ? at_once(copy((void *)d, (void *)s, n)) : INVALID;
}
// From pageable memory the bytes are taken now; page-locked memory is read when the copy runs.
API cuMemcpyHtoDAsync_v2(Pointer d, const void *s, size_t n, Handle stream) {
  ENTER;
  if (!on_device(d, n)) return INVALID;
  if (pinned(s, n)) return later(stream, copy((void *)d, s, n));
  std::string bytes((const char *)s, n);
  return later(stream, [=] {
    memcpy((void *)d, bytes.data(), bytes.size());
    return (Result)OK;
  });
}
// To pageable memory the call returns when the copy is done.
API cuMemcpyDtoHAsync_v2(void *d, Pointer s, size_t n, Handle stream) {
  ENTER;
  if (!on_device(s, n)) return INVALID;
  Result r = later(stream, copy(d, (void *)s, n));
  return r || pinned(d, n) || stream_of(stream)->capture ? r : drain(stream_of(stream));
}
API cuMemcpyDtoDAsync_v2(Pointer d, Pointer s, size_t n, Handle stream) {
  ENTER;
  return on_device(d, n) && on_device(s, n) ? later(stream, copy((void *)d, (void *)s, n)) : INVALID;
}
API cuMemcpyPeerAsync(Pointer d, Handle, Pointer s, Handle, size_t n, Handle stream) { return cuMemcpyDtoDAsync_v2(d, s, n, stream); }
API cuMemsetD8_v2(Pointer p, unsigned char v, size_t n) { ENTER; return on_device(p, n) ? at_once(fill(p, v, n)) : INVALID; }
API cuMemsetD8Async(Pointer p, unsigned char v, size_t n, Handle s) { ENTER; return on_device(p, n) ? later(s, fill(p, v, n)) : INVALID; }
API cuMemsetD32Async(Pointer p, unsigned v, size_t n, Handle s) { ENTER; return on_device(p, 4 * n) ? later(s, fill(p, v, n)) : INVALID; }
