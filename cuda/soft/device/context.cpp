// Devices, contexts, modules and functions.
#include "driver.h"
#include "runner.h"
#include <cstdio>
#include <cstdlib>
#include <fcntl.h>
#include <map>
#include <string>
#include <unistd.h>
#include <vector>

namespace softcuda {
std::mutex lock;
static std::map<int, Context *> primary;
static std::map<const simt::Kernel *, unsigned> shared_limit;

Context *current() { return (Context *)simt::own.context; }

// variable is a number of the environment, or what it is without.
static int variable(const char *name, int otherwise) {
  const char *e = getenv(name);
  return e ? atoi(e) : otherwise;
}

// SOFTCUDA_DEVICES is how many devices there are, 1 where it is not set.
int device_count() { return variable("SOFTCUDA_DEVICES", 1); }

Stream *stream_of(Handle s) { return s ? (Stream *)s : null_stream(current()->device); }

static Context *context_of(int device) {
  Context *&c = primary[device];
  if (!c) c = new Context{device};
  return c;
}

// 48 KiB, more after cuFuncSetAttribute: as on a GPU.
static unsigned dynamic_limit(const simt::Kernel *k) {
  auto i = shared_limit.find(k);
  return i == shared_limit.end() ? 48 << 10 : i->second;
}

// SOFTCUDA_FAIL=KERNEL:N makes the Nth launch of a kernel fail as an access out of bounds does; with KERNEL:N:FILE
// only where FILE can be created, so that of many processes one fails, once.
static bool doomed(const simt::Kernel *k) {
  static const std::string order = getenv("SOFTCUDA_FAIL") ? getenv("SOFTCUDA_FAIL") : "";
  static const size_t colon = order.find(':');
  static long left = colon == std::string::npos ? 0 : atol(order.c_str() + colon + 1);
  if (!left || order.compare(0, colon, k->name) || --left) return false;
  size_t file = order.find(':', colon + 1);
  if (file == std::string::npos) return true;
  int f = open(order.c_str() + file + 1, O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  return f >= 0 && !close(f);
}
} // namespace softcuda
using namespace softcuda;

static bool no_device(int d) { return d < 0 || d >= device_count(); }

API cuInit(unsigned) { return device_count() > 0 ? OK : NO_DEVICE; }
API cuDriverGetVersion(int *v) { *v = variable("SOFTCUDA_VERSION", 12060); return OK; }
API cuDeviceGetCount(int *n) { *n = device_count(); return OK; }
API cuDeviceGet(int *d, int i) { *d = i; return no_device(i) ? BAD_DEVICE : OK; }
API cuDeviceGetName(char *s, int n, int) { snprintf(s, n, "software CUDA device"); return OK; }
API cuDeviceGetUuid(unsigned char *id, int d) { // "soft", zeros, and the device's number
  memset(id, 0, 16), memcpy(id, "soft", 4), id[15] = (unsigned char)d;
  return no_device(d) ? BAD_DEVICE : OK;
}
API cuDeviceCanAccessPeer(int *can, int a, int b) { *can = a != b; return no_device(a) || no_device(b) ? BAD_DEVICE : OK; }

// Numbers of enum CUdevice_attribute, with values like those of an sm_80 GPU.
API cuDeviceGetAttribute(int *v, int attribute, int device) {
  static const std::map<int, int> values = {
      {1, 1024}, {2, 1024}, {3, 1024}, {4, 64},               // threads per block; block dimensions
      {5, 2147483647}, {6, 65535}, {7, 65535},                // grid dimensions
      {8, 48 << 10}, {10, 32}, {12, 65536}, {16, 4},          // shared memory, warp, registers, multiprocessors
      {39, 2048},                                             // threads per multiprocessor
      {75, variable("SOFTCUDA_CAPABILITY", 80) / 10},         // compute capability
      {76, variable("SOFTCUDA_CAPABILITY", 80) % 10},
      {81, 164 << 10}, {97, (int)simt::kSharedLimit},         // shared memory per multiprocessor, with opt-in
      {115, 1},                                               // memory pools
  };
  auto i = values.find(attribute);
  *v = i == values.end() ? 0 : i->second;
  return no_device(device) ? BAD_DEVICE : OK;
}
API cuDevicePrimaryCtxRetain(Handle *c, int d) {
  std::lock_guard<std::mutex> guard(softcuda::lock);
  if (no_device(d)) return BAD_DEVICE;
  if (variable("SOFTCUDA_BUSY", 0)) return BUSY; // another process has it for itself
  *c = context_of(d);
  return OK;
}
API cuDevicePrimaryCtxRelease_v2(int d) { return no_device(d) ? BAD_DEVICE : OK; }
API cuCtxSetCurrent(Handle c) { simt::own.context = c; return OK; }
API cuCtxGetCurrent(Handle *c) { *c = current(); return OK; }
API cuCtxGetDevice(int *d) { ENTER; *d = current()->device; return OK; }
API cuCtxSynchronize() {
  ENTER;
  return capturing() ? CAPTURE_UNSUPPORTED : drain_device(current()->device, true);
}
API cuCtxEnablePeerAccess(Handle c, unsigned) { ENTER; return ((Context *)c)->device == current()->device ? INVALID : OK; }
API cuCtxDisablePeerAccess(Handle) { ENTER; return OK; }

API cuGetErrorName(int r, const char **s) {
  static const std::map<int, const char *> names = {
      {OK, "CUDA_SUCCESS"}, {INVALID, "CUDA_ERROR_INVALID_VALUE"}, {NO_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY"},
      {NO_DEVICE, "CUDA_ERROR_NO_DEVICE"}, {BAD_DEVICE, "CUDA_ERROR_INVALID_DEVICE"}, {NO_CONTEXT, "CUDA_ERROR_INVALID_CONTEXT"},
      {NOT_FOUND, "CUDA_ERROR_NOT_FOUND"}, {BUSY, "CUDA_ERROR_DEVICE_UNAVAILABLE"}, {LAUNCH_FAILED, "CUDA_ERROR_LAUNCH_FAILED"}, {ILLEGAL_ADDRESS, "CUDA_ERROR_ILLEGAL_ADDRESS"}, {NOT_SUPPORTED, "CUDA_ERROR_NOT_SUPPORTED"},
      {CAPTURE_UNSUPPORTED, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED"}, {CAPTURE_INVALIDATED, "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED"},
      {CAPTURE_UNJOINED, "CUDA_ERROR_STREAM_CAPTURE_UNJOINED"},
  };
  auto i = names.find(r);
  *s = i == names.end() ? "CUDA_ERROR_UNKNOWN" : i->second;
  return OK;
}
API cuGetErrorString(int r, const char **s) {
  *s = r == LAUNCH_FAILED ? "a kernel failed; the software device printed which" : "reported by the software device";
  return OK;
}

// A module's kernels are those linked into this library, whatever the image is.
API cuModuleLoadData(Handle *m, const void *image) {
  ENTER;
  if (!image) return INVALID;
  *m = malloc(1);
  return OK;
}
API cuModuleUnload(Handle m) { free(m); return OK; }
API cuModuleGetFunction(Handle *f, Handle, const char *name) {
  ENTER;
  *f = (Handle)simt::find(name);
  return *f ? OK : NOT_FOUND;
}
API cuFuncLoad(Handle) { ENTER; return capturing() ? CAPTURE_UNSUPPORTED : OK; }
API cuFuncGetParamInfo(Handle f, size_t i, size_t *offset, size_t *size) {
  const simt::Kernel *k = (simt::Kernel *)f;
  if (i >= k->count) return INVALID;
  *offset = 8 * i, *size = k->sizes[i];
  return OK;
}
API cuFuncSetAttribute(Handle f, int attribute, int value) {
  ENTER;
  if (attribute != 8) return OK; // MAX_DYNAMIC_SHARED_SIZE_BYTES
  if (value < 0 || (unsigned)value > simt::kSharedLimit) return INVALID;
  shared_limit[(simt::Kernel *)f] = value;
  return OK;
}
API cuFuncGetAttribute(int *v, int attribute, Handle f) {
  *v = attribute == 0 ? (int)((simt::Kernel *)f)->threads : 0; // MAX_THREADS_PER_BLOCK
  return OK;
}

// SOFTCUDA_NULL=1 makes a launch do nothing: what is left is the cost of getting here.
static bool null_driver() {
  static const bool on = getenv("SOFTCUDA_NULL") != nullptr;
  return on;
}

API cuLaunchKernel(Handle f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned shared, Handle s, void **params, void **extra) {
  if (null_driver()) return OK;
  ENTER;
  const simt::Kernel *k = (simt::Kernel *)f;
  uint64_t threads = (uint64_t)bx * by * bz;
  if (extra || !gx || !gy || !gz || gy > 65535 || gz > 65535 || !threads || threads > k->threads || bz > 64 || shared > dynamic_limit(k)) return INVALID;
  std::vector<uint64_t> copy; // parameters are read now, 16 bytes aligned, as the driver does
  std::vector<size_t> at;
  for (unsigned i = 0; i < k->count; i++) {
    at.push_back(copy.size());
    copy.resize(copy.size() + (k->sizes[i] + 15) / 16 * 2);
    memcpy(&copy[at[i]], params[i], k->sizes[i]);
  }
  dim3 grid{gx, gy, gz}, block{bx, by, bz};
  return enqueue(stream_of(s), [=]() -> Result {
    if (doomed(k)) return ILLEGAL_ADDRESS;
    std::vector<uint64_t> values = copy;
    std::vector<void *> p;
    for (size_t a : at) p.push_back(values.data() + a);
    std::string error = simt::launch(k, grid, block, shared, p.data());
    if (error.empty()) return OK;
    fprintf(stderr, "softcuda: %s\n", error.c_str());
    return LAUNCH_FAILED;
  });
}
