// Device memory, page-locked host memory and copies.
#include "driver.h"
#include <cstdlib>
#include <map>

namespace softcuda {
struct Block { size_t bytes; int device; };
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

bool pinned(const void *p, size_t n) {
  auto i = host.upper_bound((uintptr_t)p);
  if (i == host.begin()) return false;
  --i;
  return (uintptr_t)p + n <= i->first + i->second;
}

// allocate fills with 0xFF: what is read before it is written is NaN, not zero.
static Result allocate(Pointer *p, size_t n) {
  int device = current()->device;
  if (!n) return INVALID;
  if (used[device] + n > total()) return NO_MEMORY;
  void *mem = nullptr;
  if (posix_memalign(&mem, 256, n)) return NO_MEMORY;
  memset(mem, 0xFF, n);
  blocks[(Pointer)mem] = {n, device};
  used[device] += n;
  *p = (Pointer)mem;
  return OK;
}

static Result release(Pointer p) {
  auto i = blocks.find(p);
  if (i == blocks.end()) return INVALID;
  used[i->second.device] -= i->second.bytes;
  blocks.erase(i);
  free((void *)p);
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
API cuIpcGetMemHandle(void *, Pointer) { return NOT_SUPPORTED; }
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
