//go:build cuda

// The CUDA driver, bound at run time, so that a binary has no dependency on libcuda.so.1 and starts where no
// driver is. Until ringo_cuda_open has loaded a library, every function answers CUDA_ERROR_NO_DEVICE.
#define _GNU_SOURCE
#include "resolve.h"
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define SYMBOL(name) #name,
static const char *const names[] = {
#include "symbols.h"
};
#undef SYMBOL

extern void *ringo_cuda_table[sizeof names / sizeof *names] __attribute__((visibility("hidden")));

static void *library;
static char why[512];

enum { NO_DEVICE = 100, NOT_FOUND = 500 }; // CUresult

// gorgonia.org/cu calls cuInit when its package starts and ends the process where that fails. So it succeeds
// here and does nothing; the library's own is called by ringo_cuda_open. Hidden, as the trampolines: it is nobody else's cuInit.
__attribute__((visibility("hidden"))) int cuInit(unsigned flags) {
  (void)flags;
  return 0;
}

static int absent(void) { return NO_DEVICE; }  // no driver is loaded
static int missing(void) { return NOT_FOUND; } // the driver is older than the function

int ringo_cuda_open(const char *path) {
  if (library) return 0;
  // The last is where containers have it whose image does not tell the loader.
  const char *candidates[] = {"libcuda.so.1", "libcuda.so", "/usr/local/nvidia/lib64/libcuda.so.1"};
  int n = 3;
  if (*path) candidates[0] = path, n = 1;
  void *lib = NULL;
  why[0] = 0;
  for (int i = 0; i < n && !lib; i++) {
    lib = dlopen(candidates[i], RTLD_NOW | RTLD_LOCAL);
    if (!lib && !why[0]) snprintf(why, sizeof why, "%s", dlerror());
  }
  if (!lib) return NO_DEVICE;
  int (*init)(unsigned) = (int (*)(unsigned))dlsym(lib, "cuInit");
  int rc = init ? init(0) : NOT_FOUND;
  if (rc) { // the library stays: unloading one that has started threads or taken thread-local storage is not safe
    snprintf(why, sizeof why, "the driver's cuInit failed with error %d%s", rc, rc == NO_DEVICE ? " (no CUDA device)" : "");
    return rc;
  }
  why[0] = 0;
  library = lib;
  return 0;
}

const char *ringo_cuda_why(void) { return why; }

// ringo_cuda_resolve is called by the trampolines, with all argument registers saved. What is found is kept;
// what is not, because no library is loaded yet, is asked for again at the next call.
__attribute__((visibility("hidden"))) void *ringo_cuda_resolve(uint64_t i) {
  if (!library) return (void *)absent;
  void *f = dlsym(library, names[i]);
  if (!f) f = (void *)missing;
  __atomic_store_n(&ringo_cuda_table[i], f, __ATOMIC_RELEASE);
  return f;
}
