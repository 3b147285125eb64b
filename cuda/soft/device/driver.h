// What the files of the driver's interface share. Signatures follow NVIDIA's CUDA driver API reference; no header of
// theirs is needed.
#pragma once
#include "../ptx/machine.h"
#include "fibers.h"
#include "stream.h"
#include <cstdint>
#include <mutex>

#define API extern "C" __attribute__((visibility("default"))) softcuda::Result

namespace softcuda {
typedef uint64_t Pointer; // CUdeviceptr
typedef void *Handle;

struct Context { int device; };

extern std::mutex lock;
Context *current(); // of this OS thread, nullptr where none is
int device_count();
Stream *stream_of(Handle s); // 0 is the current device's null stream

// on_device reports whether [p, p+n) lies in one allocation of device memory, pinned in page-locked host memory.
bool on_device(Pointer p, size_t n);
bool pinned(const void *p, size_t n);
// ranges lists the allocations for the PTX machine.
std::vector<ptx::Range> ranges();
} // namespace softcuda

// Every call starts with one of these: no work without a context, none after an error that stuck.
#define ENTER                                         \
  std::lock_guard<std::mutex> guard(softcuda::lock);  \
  if (!softcuda::current()) return softcuda::NO_CONTEXT; \
  if (softcuda::state()) return softcuda::state()
