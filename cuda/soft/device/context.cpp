// Devices and contexts.
#include "driver.h"
#include "runner.h"
#include <cstdio>
#include <cstdlib>
#include <map>

namespace softcuda {
std::mutex lock;
static std::map<int, Context *> primary;

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
      {NOT_FOUND, "CUDA_ERROR_NOT_FOUND"}, {INVALID_PTX, "CUDA_ERROR_INVALID_PTX"}, {BUSY, "CUDA_ERROR_DEVICE_UNAVAILABLE"}, {LAUNCH_FAILED, "CUDA_ERROR_LAUNCH_FAILED"}, {ILLEGAL_ADDRESS, "CUDA_ERROR_ILLEGAL_ADDRESS"}, {NOT_SUPPORTED, "CUDA_ERROR_NOT_SUPPORTED"},
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
